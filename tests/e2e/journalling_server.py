"""A real server that keeps journals, and what a client gets from it."""

import json
from collections.abc import Mapping
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import ismrmrd

from pipelines import client
from pipelines.server import Server
from pipelines.sources import Scan


class Session(NamedTuple):
    """What a client got, and what the server kept of what it was sent."""

    images: list[ismrmrd.Image]
    journal: Path


class JournallingServer:
    """A real server, reached by TCP."""

    def __init__(self, server: Server, journals: Path) -> None:
        self._address, self._journals = server.address, journals

    def send(self, scan: Scan, recipe: str, parameters: Mapping[str, Any] | None = None) -> Session:
        """Reconstruct a scan there."""
        before = set(self._journals.glob("*.mrd"))
        said = [json.dumps({"parameters": parameters})] if parameters else []
        host, port = self._address
        items = chain(said, scan.items())
        images = list(client.send(scan.header_xml, items, recipe, host=host, port=port))
        (journal,) = set(self._journals.glob("*.mrd")) - before
        return Session(images, journal)
