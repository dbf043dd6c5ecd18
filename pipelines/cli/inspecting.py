"""`reconstream inspect`: what a file holds."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import AsJson


def inspect(
    file: Annotated[Path, typer.Argument(help="ISMRMRD HDF5 file, MRD stream or journal.")],
    as_json: AsJson = False,
) -> None:
    """Show encoding, counters, trajectory, missing lines, noise, and a picture of the sampling."""
    from pipelines.cli.terminal import print_json
    from pipelines.inspection import inspect_scan

    inspection = inspect_scan(file)
    if as_json:
        print_json(inspection.to_dict())
    else:
        print(inspection.render())
