"""A server that many bad clients share, and what a good one gets from it; engines; what the runner needs."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from time import monotonic

import pytest

from pipelines import recipe as recipe_module
from pipelines.server import Server
from recon_core.engine.engine import Engine
from recon_core.engine.store import ModelStore
from tests.pipelines.serving import contents, footprint, offline, serving, wait_for
from tests.pipelines.short_scan import SCAN, journals
from tests.pipelines.tiny_gadgets import DEADLINE_S, GADGETS, Hold
from tests.pipelines.wire import RawClient


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("journals")) as running:
        yield running


@pytest.fixture(scope="module")
def expected() -> list[object]:
    return contents(offline(SCAN))


@pytest.fixture
def refused(server: Server, expected: list[object]) -> Callable[..., str]:
    """Sends bytes, perhaps ends the stream, and returns the error, while another scan goes on unharmed."""

    def send(*parts: bytes, end: bool = False) -> str:
        before = footprint()
        with RawClient(server.address) as other, RawClient(server.address) as client:
            other.send(*SCAN[:5])
            client.send(*parts)
            if end:
                client.end()
            error = client.error()
            other.send(*SCAN[5:])
            assert contents(other.messages()) == expected
        wait_for(before)
        assert not parts or b"".join(parts) in journals(server)
        return error

    return send


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine whose packages lie in `tmp_path`."""
    with Engine(store=ModelStore(tmp_path, tmp_path / "added")) as running:
        yield running


@pytest.fixture
def tiny_gadgets(monkeypatch: pytest.MonkeyPatch) -> None:
    """Recipes know the tiny gadgets alone."""
    Hold.released = threading.Event()
    monkeypatch.setattr(recipe_module, "known_gadgets", lambda: GADGETS)


@pytest.fixture
def no_thread_is_left() -> Iterator[None]:
    """Of those that the test starts."""
    before = set(threading.enumerate())
    yield
    deadline = monotonic() + DEADLINE_S
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0.0, deadline - monotonic()))
        assert not thread.is_alive(), thread.name
