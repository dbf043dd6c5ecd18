"""`reconstream anonymize`: a raw scan without what tells who was examined."""

from pathlib import Path
from typing import Annotated

import typer


def anonymize(
    source: Annotated[Path, typer.Argument(help="ISMRMRD HDF5 file, MRD stream or journal.")],
    destination: Annotated[Path, typer.Argument(help="ISMRMRD HDF5 file to write.")],
) -> None:
    """Write a raw scan without names, dates, places and free text; prints the file written.

    What is kept is a list. Identifiers become pseudonyms, the same in every scan, by a secret of this user's.
    """
    from pipelines.anonymization import anonymize

    anonymize(source, destination)
    print(destination)
