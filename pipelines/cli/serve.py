"""`reconstream serve`: the server."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import DEFAULT_PORT, Studies


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = DEFAULT_PORT,
    journal: Annotated[
        Path | None, typer.Option(help="Directory that keeps every byte received, for `replay`.")
    ] = None,
    journal_keep_gb: Annotated[
        float | None,
        typer.Option(
            min=0, help="Remove the oldest finished journals beyond this; all are kept if not given."
        ),
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let other machines connect: anyone who reaches the port.")
    ] = False,
    error_prefix: Annotated[
        str, typer.Option(help="Begins the text of every error sent, as the scanner expects it.")
    ] = "ERROR ",
    engine_process: Annotated[
        bool,
        typer.Option(
            "--engine-process", help="Run networks in a process of their own, which may crash alone."
        ),
    ] = False,
    studies: Studies = "on",
    dicom_folder: Annotated[
        Path | None, typer.Option(help="Directory for the DICOM files of recipes with DicomOut.")
    ] = None,
    dicom_node: Annotated[
        str | None,
        typer.Option(metavar="TITLE@HOST:PORT", help="The archive that gets these files as a scan ends."),
    ] = None,
) -> None:
    """Serve MRD clients (scanners, Gadgetron clients, `reconstream send`) until stopped.

    SIGTERM or Ctrl-C lets running scans end for eight seconds, then stops; a second one interrupts them.
    """
    import logging
    import signal
    import threading

    from pipelines.dicom_node import Node
    from pipelines.limits import Limits
    from pipelines.outputs.dicom_archive import DicomArchive
    from pipelines.server import Server
    from pipelines.studies.chosen import chosen_studies
    from recon_core.errors import InputError

    logging.getLogger("reconstream").setLevel(min(logging.INFO, logging.getLogger("reconstream").level))
    if dicom_node is not None and dicom_folder is None:
        raise InputError(
            f"--dicom-node {dicom_node}: expected a folder from which to send, got none; add --dicom-folder"
        )
    node = None if dicom_node is None else Node.parse(dicom_node)
    archive = None if dicom_folder is None else DicomArchive(dicom_folder, node)
    n_bytes = None if journal_keep_gb is None else int(journal_keep_gb * 1e9)
    with chosen_studies(studies) as kept:
        server = Server(
            host,
            port,
            journal=journal,
            limits=Limits(journal_bytes=n_bytes),
            allow_remote=allow_remote,
            error_prefix=error_prefix,
            engine_process=engine_process,
            studies=kept,
            archive=archive,
        )
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: server.stop(at_once=server.is_stopping))
        # No daemon: torch aborts a process that ends while a thread of it is inside.
        threading.Thread(target=server.warm_up, name="warm-up").start()
        server.serve_forever()
