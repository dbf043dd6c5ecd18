"""`reconstream import`: other people's raw files to ISMRMRD."""

from pathlib import Path
from typing import Annotated

import typer


def import_(
    source: Annotated[
        Path, typer.Argument(help="BART cfl, fastMRI HDF5, numpy, MATLAB or Siemens twix file.")
    ],
    destination: Annotated[Path, typer.Argument(help="ISMRMRD HDF5 file to write.")],
) -> None:
    """Convert a raw file to ISMRMRD."""
    from pipelines.importers import import_scan

    import_scan(source, destination)
    print(destination)
