"""`reconstream send`: a raw file to a server, its images to a file."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import DEFAULT_PORT, AsJson, Host, Port

FORMATS = {".h5": "mrd", ".mrd": "stream"}


def send(
    file: Annotated[Path, typer.Argument(help="ISMRMRD HDF5 file, MRD stream or journal.")],
    recipe: Annotated[str, typer.Option(help="Name of a recipe the server knows, or a TOML or XML file.")],
    out: Annotated[Path, typer.Option(help="File for the images: .h5 (ISMRMRD HDF5) or .mrd (MRD stream).")],
    host: Host = "127.0.0.1",
    port: Port = DEFAULT_PORT,
    timeout: Annotated[
        float, typer.Option(min=0, help="Seconds to wait without a byte from the server.")
    ] = 600.0,
    as_json: AsJson = False,
) -> None:
    """Send a scan to an MRD server (ours or Gadgetron's) and keep the images it answers."""
    from pipelines import client
    from pipelines.cli.terminal import print_json, scan_progress
    from pipelines.outputs import write_all
    from pipelines.recipe import text_of
    from pipelines.sources import open_scan
    from recon_core.errors import InputError, SessionError

    if out.suffix not in FORMATS:
        raise InputError(f"--out {out}: expected a name ending in {' or '.join(FORMATS)}; correct it")
    if out.resolve() == file.resolve():
        raise InputError(f"--out {out}: expected another file than the scan itself; choose another name")
    scan = open_scan(file)
    wanted = text_of(Path(recipe)) if Path(recipe).is_file() else recipe
    with scan_progress(file.name, file.stat().st_size) as progress:
        items = progress.reading(scan.items())
        images = client.send(scan.header_xml, items, wanted, host=host, port=port, timeout_s=timeout)
        received = progress.receiving(images)
        files = write_all(received, out.parent, out.stem, scan.header_xml, [FORMATS[out.suffix]])
    if not files:
        raise SessionError(f"server {host}:{port}: expected images, got none; see the server's log")
    if as_json:
        print_json({"scan": file, "recipe": recipe, "images": progress.n_images, "files": files})
    else:
        print(*files, sep="\n")
