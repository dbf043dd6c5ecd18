"""An engine in its own process gives the same images, and its death is an error at once."""

import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter, sleep

import pytest
import torch

from recon_core.engine import package, worker_process
from recon_core.engine.engine import Engine
from recon_core.engine.package import write_package
from recon_core.engine.store import ModelStore
from recon_core.errors import EngineError
from recon_core.nets.registry import build
from tests.recon_core.engine.tiny import slices, tiny_manifest

CONFIG = {"n_cascades": 1, "n_features": 4}
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ModelStore:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("models")
    manifest = tiny_manifest(architecture="d5c5", config=CONFIG)
    write_package(folder / "tiny", build("d5c5", CONFIG), manifest)
    return ModelStore(folder, folder / "added")


@pytest.fixture(scope="module")
def engine(store: ModelStore) -> Iterator[Engine]:
    """Starting its process takes seconds, in which torch is imported."""
    with Engine(store=store, own_process=True) as engine:
        yield engine


@pytest.fixture(autouse=True)
def real_architectures(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new process knows no others."""
    monkeypatch.setattr(package, "build", build)


def pid(engine: Engine) -> int:
    return engine._worker._child._process.pid


def test_sessions_get_the_images_of_an_engine_within_the_process_bit_for_bit(
    engine: Engine, store: ModelStore
) -> None:
    volumes = [slices(2, seed) for seed in range(6)]
    with Engine(store=store) as within, ThreadPoolExecutor(3) as sessions:
        images = sessions.map(lambda volume: engine.reconstruct("tiny", volume).image, volumes)
        for image, volume in zip(images, volumes, strict=True):
            assert torch.equal(image, within.reconstruct("tiny", volume).image)


def test_a_process_killed_in_the_middle_of_a_scan_ends_the_call_at_once_and_the_next_is_served(
    engine: Engine,
) -> None:
    expected = engine.reconstruct("tiny", slices(1)).image
    with ThreadPoolExecutor(2) as sessions:
        calls = [sessions.submit(engine.reconstruct, "tiny", slices(300, seed)) for seed in range(2)]
        while len(engine._worker._child._asked) < 2:
            sleep(0.01)
        os.kill(pid(engine), signal.SIGKILL)
        killed = perf_counter()
        for call in calls:
            with pytest.raises(EngineError, match=r"process ended in the middle \(exit code -9\)"):
                call.result(timeout=10)
        assert perf_counter() - killed < 3
    assert torch.equal(engine.reconstruct("tiny", slices(1)).image, expected)


def test_a_process_that_stands_still_ends_the_call_at_the_time_limit(engine: Engine) -> None:
    engine.warm_up("tiny", (24, 20))
    os.kill(pid(engine), signal.SIGSTOP)
    with pytest.raises(EngineError, match=r"no image within 0\.2 s"):
        engine.reconstruct("tiny", slices(1), timeout_s=0.2)
    os.kill(pid(engine), signal.SIGCONT)
    assert len(engine.reconstruct("tiny", slices(1)).image) == 1


def test_an_interrupt_from_the_terminal_is_left_to_the_server(engine: Engine) -> None:
    expected = engine.reconstruct("tiny", slices(1)).image
    child = engine._worker._child
    os.kill(pid(engine), signal.SIGINT)
    assert torch.equal(engine.reconstruct("tiny", slices(1)).image, expected)
    assert engine._worker._child is child


def test_arrays_that_cannot_be_sent_are_an_error_and_the_next_call_is_served(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine.warm_up("tiny", (24, 20))
    child = engine._worker._child
    child._known.clear()

    def refuse(_: object) -> None:
        raise RuntimeError("unable to open shared memory object")

    with monkeypatch.context() as patched:
        patched.setattr(child._connection, "send", refuse)
        with pytest.raises(EngineError, match=r"did not reach .* unable to open shared memory"):
            engine.reconstruct("tiny", slices(1))
    assert len(engine.reconstruct("tiny", slices(1), timeout_s=20).image) == 1


def test_closing_ends_the_process_and_the_calls_that_wait(store: ModelStore) -> None:
    engine = Engine(store=store, own_process=True)
    engine.warm_up("tiny", (24, 20))
    child = engine._worker._child
    with ThreadPoolExecutor(1) as sessions:
        call = sessions.submit(engine.reconstruct, "tiny", slices(300))
        while not child._asked:
            sleep(0.01)
        engine.close()
        for late in (call.result, lambda: engine.reconstruct("tiny", slices(1))):
            with pytest.raises(EngineError, match="the engine was closed"):
                late()
    child._process.join(timeout=5)
    assert not child._process.is_alive()


def test_arrays_that_shared_memory_cannot_hold_are_refused(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(worker_process, "_free_bytes", lambda: 1000)
    with pytest.raises(EngineError, match="0 MB do not fit in /dev/shm; enlarge it"):
        engine.reconstruct("tiny", slices(1))
