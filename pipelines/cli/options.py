"""Options that several commands take. Kept apart from what they do, so that `--help` imports little."""

from pathlib import Path
from typing import Annotated

import typer

AsJson = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]
OutDirectory = Annotated[Path, typer.Option("--out", help="Directory for the images, made when missing.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="GADGET.PARAM=VALUE", help="Change a parameter of the recipe; repeatable."),
]
Formats = Annotated[
    str, typer.Option("--format", help="Comma-separated: mrd, stream, png, nifti, dicom, npy.")
]
Studies = Annotated[
    str,
    typer.Option(
        "--studies",
        metavar="on|off|DIR",
        help="Where scans find what earlier ones of their study left: in the user's folder, nowhere, in DIR.",
    ),
]
Host = Annotated[str, typer.Option("--host", help="Address of the server.")]
Port = Annotated[int, typer.Option("--port", min=0, max=65535, help="Port of the server.")]

DEFAULT_OUT = Path("images")
DEFAULT_PORT = 9002
