"""A server that journals, for all tests of a module."""

from collections.abc import Iterator

import pytest

from pipelines.server import Server
from tests.e2e.journalling_server import JournallingServer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[JournallingServer]:
    journals = tmp_path_factory.mktemp("journals")
    with Server(port=0, journal=journals) as running:
        yield JournallingServer(running, journals)
