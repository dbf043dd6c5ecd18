"""`reconstream import`: other people's raw files to ISMRMRD."""

from pathlib import Path
from typing import Annotated

import typer


def import_(
    source: Annotated[
        Path, typer.Argument(help="BART cfl, fastMRI HDF5, numpy, MATLAB or Siemens twix file.")
    ],
    destination: Annotated[Path, typer.Argument(help="ISMRMRD HDF5 file to write.")],
    kind: Annotated[
        str | None, typer.Option(help="bart, fastmri, matlab, numpy or siemens; else the content decides.")
    ] = None,
    variable: Annotated[
        str | None, typer.Option(help="The array in a .mat or .npz that holds several.")
    ] = None,
    axes: Annotated[
        str | None, typer.Option(help='The axes of a MATLAB or numpy array in order, such as "coil ky kx".')
    ] = None,
    fov_mm: Annotated[
        tuple[float, float, float] | None, typer.Option(help="Field of view along x, y and z in mm.")
    ] = None,
    measurement: Annotated[
        int | None, typer.Option(help="Which measurement of a Siemens file, from 0; else the last.")
    ] = None,
) -> None:
    """Convert a raw file to ISMRMRD; prints the file written."""
    from pipelines.importers import import_scan

    options = {"variable": variable, "axes": axes, "fov_mm": fov_mm, "measurement": measurement}
    given = {name: value for name, value in options.items() if value is not None}
    print(import_scan(source, destination, kind, **given))
