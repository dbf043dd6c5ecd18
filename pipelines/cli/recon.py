"""`reconstream recon`: raw files to images."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import DEFAULT_OUT, AsJson, Formats, OutDirectory, Settings, Studies


def recon(
    files: Annotated[list[Path], typer.Argument(help="ISMRMRD HDF5 files, MRD streams or journals.")],
    recipe: Annotated[str, typer.Option(help="Name of a shipped recipe, or a TOML or XML file.")] = "auto",
    out: OutDirectory = DEFAULT_OUT,
    settings: Settings = None,
    formats: Formats = "mrd",
    as_json: AsJson = False,
    studies: Studies = "off",
) -> None:
    """Reconstruct raw files.

    Prints the files written. The exit code is 0 only when every image of every file was made. What one file
    leaves for the scans of its study, its noise scan for one, serves those after it; with `--studies` also
    what scans left before.
    """
    from pipelines.cli.reconstructing import chosen_formats, chosen_recipe, reconstruct_files, with_settings

    chosen = with_settings(chosen_recipe(recipe), settings)
    if not reconstruct_files(files, lambda _: chosen, out, chosen_formats(formats), as_json, studies):
        raise typer.Exit(1)
