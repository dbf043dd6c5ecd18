"""`reconstream serve`: the server."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import DEFAULT_PORT


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, help="Port to listen on; 0 takes a free one.")
    ] = DEFAULT_PORT,
    journal: Annotated[
        Path | None, typer.Option(help="Directory that keeps every byte received, for `replay`.")
    ] = None,
    allow_remote: Annotated[
        bool, typer.Option("--allow-remote", help="Let other machines connect: anyone who reaches the port.")
    ] = False,
) -> None:
    """Serve MRD clients (scanners, Gadgetron clients, `reconstream send`) until stopped.

    SIGTERM or Ctrl-C lets running scans end, then stops; a second one interrupts them.
    """
    import logging
    import signal
    import threading

    from pipelines.server import Server

    logging.getLogger("reconstream").setLevel(min(logging.INFO, logging.getLogger("reconstream").level))
    server = Server(host, port, journal=journal, allow_remote=allow_remote)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: server.stop(at_once=server.is_stopping))
    threading.Thread(target=server.warm_up, name="warm-up", daemon=True).start()
    server.serve_forever()
