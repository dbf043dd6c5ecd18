"""Every call ends: with images, or with a typed error and its reason."""

import ctypes
import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

import pytest
import torch

from recon_core.engine.engine import Engine
from recon_core.engine.package import WEIGHTS
from recon_core.engine.store import ModelStore
from recon_core.engine.waiting import Priority
from recon_core.errors import EngineError, InputError, ModelError, OutOfRange
from recon_core.nets.undersampled import Undersampled, reconstruct
from tests.recon_core.engine.tiny import Tiny, slices, tiny_network, tiny_package

Behaviour = Callable[[Undersampled], torch.Tensor]
FULL = "out of memory for a slice of 24 x 20, 3 coils, even in tiles"
GAVE = "the network gave "


@pytest.fixture
def store(tmp_path: Path) -> ModelStore:
    tiny_package(tmp_path / "shipped" / "tiny")
    return ModelStore(tmp_path / "shipped", tmp_path / "added")


@pytest.fixture
def engine(store: ModelStore) -> Iterator[Engine]:
    with Engine(store=store) as engine:
        yield engine


@pytest.fixture
def behave(monkeypatch: pytest.MonkeyPatch) -> Callable[[Behaviour], None]:
    """Let the network do something else."""

    def set_behaviour(behaviour: Behaviour) -> None:
        monkeypatch.setattr(
            Tiny, "forward", lambda _self, undersampled, _anatomy=None: behaviour(undersampled)
        )

    return set_behaviour


def raises(error: BaseException) -> Behaviour:
    def behaviour(_: Undersampled) -> torch.Tensor:
        raise error

    return behaviour


def test_the_image_is_the_network_s_with_its_provenance(engine: Engine, store: ModelStore) -> None:
    batch = slices(3)
    result = engine.reconstruct("tiny", batch, anatomy="brain")
    torch.testing.assert_close(result.image, reconstruct(tiny_network(), batch), rtol=1e-5, atol=1e-5)
    assert (result.model, result.hash) == ("tiny@1", store.load("tiny").hash)
    assert (result.precision, result.how, result.batch_size) == ("float32", "batch", 1)
    assert result.unchecked == ("contrast",)
    assert result.wall_time_s > 0
    assert result.peak_memory_bytes > 1 << 20
    result.image.mul_(2)  # an ordinary tensor, which gadgets may scale in place


@pytest.mark.parametrize("shape", [(24, 20), (31, 17)])
def test_replay_among_other_sessions_equals_inline_alone_bit_for_bit(
    store: ModelStore, shape: tuple[int, int]
) -> None:
    volumes = [slices(3, seed, shape) for seed in range(6)]
    with Engine(store=store, batch_size=4) as engine:
        alone = [engine.reconstruct("tiny", volume).image for volume in volumes]
    with Engine(store=store, batch_size=4) as engine, ThreadPoolExecutor(6) as sessions:
        replayed = sessions.map(
            lambda volume: engine.reconstruct("tiny", volume, priority=Priority.REPLAY).image, volumes
        )
        assert all(torch.equal(a, b) for a, b in zip(alone, replayed, strict=True))


def test_sessions_share_batches(store: ModelStore, behave: Callable[[Behaviour], None]) -> None:
    sizes = []

    def slow(undersampled: Undersampled) -> torch.Tensor:
        sizes.append(len({float(k.abs().sum()) for k in undersampled.kspace}))
        sleep(0.02)
        return undersampled.zero_filled()

    behave(slow)
    with Engine(store=store, batch_size=4, latency_budget_ms=200) as engine, ThreadPoolExecutor(4) as pool:
        engine.reconstruct("tiny", slices(1))
        list(pool.map(lambda seed: engine.reconstruct("tiny", slices(1, seed)), range(4)))
    assert max(sizes) >= 3


def test_a_failing_session_does_not_fail_the_others_in_its_batch(
    store: ModelStore, behave: Callable[[Behaviour], None]
) -> None:
    ready = threading.Barrier(2)

    def fails_for_marked(undersampled: Undersampled) -> torch.Tensor:
        if (undersampled.noise_std == 0).any():
            raise ValueError("a marked slice")
        return undersampled.zero_filled()

    behave(fails_for_marked)

    def call(batch: Undersampled) -> Any:
        ready.wait()
        return engine.reconstruct("tiny", batch)

    with Engine(store=store, batch_size=2, latency_budget_ms=500) as engine, ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            bad = pool.submit(call, replace(slices(1), noise_std=torch.zeros(1)))
            good = pool.submit(call, slices(1, 1))
            assert torch.allclose(good.result().image, slices(1, 1).zero_filled(), atol=1e-5)
            with pytest.raises(EngineError, match="ValueError: a marked slice"):
                bad.result()


def test_inline_overtakes_a_replay_between_its_slices(
    engine: Engine, behave: Callable[[Behaviour], None]
) -> None:
    started = threading.Event()

    def slow(undersampled: Undersampled) -> torch.Tensor:
        started.set()
        sleep(0.05)
        return undersampled.zero_filled()

    behave(slow)
    with ThreadPoolExecutor(1) as pool:
        replayed = pool.submit(engine.reconstruct, "tiny", slices(20), priority=Priority.REPLAY)
        started.wait()
        engine.reconstruct("tiny", slices(1))
        assert not replayed.done()
        assert len(replayed.result().image) == 20


def test_what_the_model_was_not_trained_on_is_refused_unless_allowed(engine: Engine) -> None:
    batch = slices(1)
    assert engine.check("tiny", batch, anatomy="brain", contrast="T1") == []
    reasons = engine.check("tiny", batch, anatomy="knee", contrast="CT")
    assert reasons == ["anatomy 'knee' is none of brain", "contrast 'CT' is none of T1, T2"]
    with pytest.raises(OutOfRange) as refused:
        engine.reconstruct("tiny", batch, anatomy="knee", contrast="CT")
    assert refused.value.reason == "; ".join(reasons)
    assert str(refused.value) == f"model 'tiny@1': {refused.value.reason}"
    allowed = engine.reconstruct("tiny", batch, anatomy="knee", contrast="CT", allow_out_of_range=True)
    assert torch.isfinite(torch.view_as_real(allowed.image)).all()


def test_sampling_thirty_times_too_little_is_out_of_range(engine: Engine) -> None:
    batch = slices(1, shape=(30, 30))
    sampled = torch.zeros_like(batch.sampled)
    sampled[:, 15] = True
    thinned = replace(batch, sampled=sampled, kspace=batch.kspace * sampled[:, None])
    with pytest.raises(OutOfRange, match=r"acceleration 30 is outside 1\.5 to 4"):
        engine.reconstruct("tiny", thinned)


def test_more_coils_than_trained_on_is_out_of_range(engine: Engine) -> None:
    batch = slices(1)
    many = replace(
        batch, kspace=batch.kspace.repeat(1, 4, 1, 1), coil_maps=batch.coil_maps.repeat(1, 4, 1, 1) / 2
    )
    with pytest.raises(OutOfRange, match="number of coils 12 is outside 1 to 8"):
        engine.reconstruct("tiny", many)


@pytest.mark.parametrize("name", ["kspace", "coil_maps", "noise_std"])
def test_values_that_are_not_finite_are_refused_even_where_all_is_allowed(engine: Engine, name: str) -> None:
    batch = slices(2)
    getattr(batch, name).view(-1)[-1] = torch.nan
    with pytest.raises(EngineError, match="not finite"):
        engine.reconstruct("tiny", batch, allow_out_of_range=True)


@pytest.mark.parametrize(
    "changes",
    [
        {"sampled": torch.ones(1, 5, 5, dtype=torch.bool)},
        {"coil_maps": None},
        {"coil_maps": torch.ones(1, 1, 24, 20, dtype=torch.complex64)},
        {"kspace": torch.ones(24, 20, dtype=torch.complex64)},
        {"kspace": torch.ones(0, 3, 24, 20, dtype=torch.complex64)},
        {"noise_std": torch.ones(4)},
        {"guide": torch.ones(2, 24, 20)},
    ],
)
def test_arrays_that_do_not_fit_together_are_refused(engine: Engine, changes: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="network: expected k-space"):
        engine.reconstruct("tiny", replace(slices(1), **changes))


def test_an_unknown_model_is_refused_with_the_known_ones(engine: Engine) -> None:
    with pytest.raises(ModelError, match=r"expected one of those there are \(tiny\)"):
        engine.reconstruct("large", slices(1))


def test_a_damaged_package_is_refused_at_each_call(store: ModelStore) -> None:
    (store.shipped / "tiny" / WEIGHTS).write_bytes(b"")
    with Engine(store=store) as engine:
        for _ in range(2):
            with pytest.raises(ModelError, match="SHA-256"):
                engine.reconstruct("tiny", slices(1))


def test_what_was_loaded_stays_whatever_becomes_of_its_folder(engine: Engine, store: ModelStore) -> None:
    first = engine.reconstruct("tiny", slices(1))
    (store.shipped / "tiny" / WEIGHTS).write_bytes(b"")
    assert torch.equal(engine.reconstruct("tiny", slices(1)).image, first.image)


@pytest.mark.parametrize(
    ("behaviour", "reason"),
    [
        (raises(ValueError("no such thing")), "ValueError: no such thing"),
        (raises(InputError("network: expected an anatomy")), "network: expected an anatomy"),
        (raises(torch.OutOfMemoryError("CUDA out of memory")), FULL),
        (raises(MemoryError()), FULL),
        (lambda u: u.zero_filled() * torch.nan, GAVE + "values that are not finite"),
        (lambda u: u.zero_filled() / 0, GAVE + "values that are not finite"),
        (lambda u: u.zero_filled().abs(), GAVE + "torch.float32 of shape (2, 24, 20), no complex images"),
        (lambda u: u.zero_filled()[:, 1:], GAVE + "torch.complex64 of shape (2, 23, 20), no complex images"),
        (lambda _: None, "TypeError: 'NoneType' object is not subscriptable"),
    ],
)
def test_a_network_that_fails_is_an_error_with_a_reason_and_the_next_scan_is_served(
    engine: Engine, behave: Callable[[Behaviour], None], behaviour: Behaviour, reason: str
) -> None:
    behave(behaviour)
    with pytest.raises(EngineError) as failed:
        engine.reconstruct("tiny", slices(2))
    assert (failed.value.reason, failed.value.model) == (reason, "tiny@1")
    behave(lambda u: u.zero_filled())
    assert len(engine.reconstruct("tiny", slices(2)).image) == 2


def test_memory_that_runs_out_in_the_middle_of_a_scan_is_said_in_the_result(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    batch = slices(3, shape=(80, 20))
    whole = engine.reconstruct("tiny", batch, allow_out_of_range=True)
    n_calls = count()

    def second_is_full(self: torch.nn.Conv2d, x: torch.Tensor) -> torch.Tensor:
        if next(n_calls) >= 2 and x.shape[-2] == 80:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self._conv_forward(x, self.weight, self.bias)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", second_is_full)
    result = engine.reconstruct("tiny", batch, allow_out_of_range=True)
    assert (whole.how, result.how) == ("batch", "tiles")
    torch.testing.assert_close(result.image, whole.image)


def test_a_network_that_hangs_ends_at_the_time_limit(
    engine: Engine, behave: Callable[[Behaviour], None]
) -> None:
    release = threading.Event()

    def hang(undersampled: Undersampled) -> torch.Tensor:
        release.wait(20)
        return undersampled.zero_filled()

    behave(hang)
    for _ in range(2):
        began = perf_counter()
        with pytest.raises(EngineError, match=r"no image within 0\.1 s"):
            engine.reconstruct("tiny", slices(2), timeout_s=0.1)
        assert perf_counter() - began < 2
    release.set()
    assert len(engine.reconstruct("tiny", slices(2)).image) == 2


def test_a_worker_killed_in_the_middle_of_a_scan_ends_every_call_at_once(
    engine: Engine, behave: Callable[[Behaviour], None]
) -> None:
    started = threading.Event()
    served_by: list[int] = []

    def busy(undersampled: Undersampled) -> torch.Tensor:
        served_by.append(threading.get_ident())
        started.set()
        for _ in range(2000):
            sleep(0.005)
        return undersampled.zero_filled()

    behave(busy)
    with ThreadPoolExecutor(3) as pool:
        calls = [pool.submit(engine.reconstruct, "tiny", slices(2, seed)) for seed in range(3)]
        started.wait()
        killed = perf_counter()
        ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(served_by[0]), ctypes.py_object(SystemExit))
        for call in calls:
            with pytest.raises(EngineError, match="the engine's worker ended: SystemExit"):
                call.result(timeout=5)
        with pytest.raises(EngineError, match="the engine's worker ended: SystemExit"):
            engine.reconstruct("tiny", slices(1))
    assert perf_counter() - killed < 3


def test_closing_ends_the_calls_that_wait(store: ModelStore, behave: Callable[[Behaviour], None]) -> None:
    started = threading.Event()

    def slow(undersampled: Undersampled) -> torch.Tensor:
        started.set()
        sleep(0.2)
        return undersampled.zero_filled()

    behave(slow)
    engine = Engine(store=store)
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(engine.reconstruct, "tiny", slices(100))
        started.wait()
        engine.close()
        for late in (call.result, lambda: engine.reconstruct("tiny", slices(1))):
            with pytest.raises(EngineError, match="the engine was closed"):
                late()


def test_warm_up_loads_the_network_before_the_first_scan(
    engine: Engine, behave: Callable[[Behaviour], None]
) -> None:
    seen: list[torch.Size] = []

    def note(undersampled: Undersampled) -> torch.Tensor:
        seen.append(undersampled.kspace.shape)
        return undersampled.zero_filled()

    behave(note)
    engine.warm_up("tiny", (32, 24))
    assert seen == [(1, 1, 32, 24)]
    behave(raises(ValueError("broken")))
    with pytest.raises(EngineError, match="broken"):
        engine.warm_up("tiny")


def test_each_call_is_one_line_in_the_log(engine: Engine, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "reconstream.engine"):
        engine.reconstruct("tiny", slices(2))
    (line,) = caplog.messages
    assert line.startswith("model tiny@1: 2 slices of 24 x 20, 3 coils, batch 1, ")
    assert line.endswith(" MB, cpu, float32, batch")
