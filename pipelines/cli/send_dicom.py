"""`reconstream send-dicom`: DICOM files to an archive."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import AsJson


def send_dicom(
    files: Annotated[list[Path], typer.Argument(help="DICOM files, or folders of them.")],
    node: Annotated[
        str, typer.Option(metavar="TITLE@HOST:PORT", help="The archive, such as ORTHANC@127.0.0.1:4242.")
    ],
    calling_title: Annotated[str, typer.Option(help="What the archive knows us as.")] = "RECONSTREAM",
    timeout: Annotated[float, typer.Option(min=1, help="Seconds to wait for each answer.")] = 30.0,
    as_json: AsJson = False,
) -> None:
    """Send DICOM files to an archive (C-STORE). The exit code is 0 only when it keeps all of them."""
    from pipelines.cli.terminal import print_json
    from pipelines.dicom_node import Node, dicom_files, store

    archive = Node.parse(node)
    found = dicom_files(files)
    n_stored = store(found, archive, calling_title=calling_title, timeout_s=timeout)
    if as_json:
        print_json({"node": archive, "stored": n_stored})
    else:
        print(f"{n_stored} stored at {archive}")
