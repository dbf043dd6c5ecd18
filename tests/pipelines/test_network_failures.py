"""What goes wrong while a network runs costs no image."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.simulated_scan import simulated_scan
from pipelines.sources import Scan
from recon_core.engine.engine import Engine
from recon_core.nets.calibrated_cascade import CalibratedCascadeNetwork
from recon_core.simulate import simulate_acquisition
from tests.model_packages import network_package
from tests.pipelines.network_scans import (
    THREE_SLICES,
    assert_fell_back,
    assert_is_network,
    classical,
    images_of,
)
from tests.pipelines.serving import contents


def test_values_that_are_not_finite_give_the_classical_image(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path, weights=lambda drawn: torch.full_like(drawn, 1e30))
    images = images_of(engine, THREE_SLICES)
    for image, expected in zip(images[:2], classical(scan=THREE_SLICES), strict=False):
        assert_fell_back(image, expected, "the network gave values that are not finite")
    assert_fell_back(images[2], classical(scan=THREE_SLICES)[2], "failed before in this scan")


def failing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[int], BaseException | None]) -> None:
    """The network raises what `fails` gives for the number of its call."""
    forward, calls = CalibratedCascadeNetwork.forward, iter(range(1000))

    def patched(self: Any, *arguments: Any) -> torch.Tensor:
        if (error := fails(next(calls))) is not None:
            raise error
        return forward(self, *arguments)

    monkeypatch.setattr(CalibratedCascadeNetwork, "forward", patched)


def out_of_memory() -> RuntimeError:
    return torch.OutOfMemoryError("CUDA out of memory")


def test_memory_that_runs_out_once_is_made_do_with(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_package(tmp_path)
    expected = [image.data for image in images_of(engine, THREE_SLICES)]
    failing(monkeypatch, lambda call: out_of_memory() if call == 1 else None)
    for image, data in zip(images_of(engine, THREE_SLICES), expected, strict=True):
        assert_is_network(image)
        assert np.allclose(image.data, data, rtol=1e-4, atol=1e-4 * data.max())


def test_memory_that_runs_out_in_the_middle_of_a_scan_costs_one_image(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_package(tmp_path)
    failing(monkeypatch, lambda call: out_of_memory() if call in (1, 2) else None)
    first, second, third = images_of(engine, THREE_SLICES)
    assert_is_network(first)
    assert_fell_back(second, classical(scan=THREE_SLICES)[1], "out of memory for a slice of 48 x 48, 4 coils")
    assert_is_network(third)


def test_an_engine_that_ends_in_the_middle_of_a_scan_costs_the_images_to_come(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_package(tmp_path)
    failing(monkeypatch, lambda call: SystemExit("killed") if call == 1 else None)
    expected = classical(scan=THREE_SLICES)
    first, second, third = images_of(engine, THREE_SLICES)
    assert_is_network(first)
    assert_fell_back(second, expected[1], "the engine's worker ended: SystemExit: killed")
    assert_fell_back(third, expected[2], "the engine's worker ended: SystemExit: killed")


def test_a_network_that_hangs_is_waited_for_twice_and_asked_no_more(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_package(tmp_path)
    released = threading.Event()

    def hangs(_call: int) -> None:
        assert released.wait(30)

    failing(monkeypatch, hangs)  # type: ignore[arg-type]
    try:
        images = images_of(engine, THREE_SLICES, timeout_s=0.2)
    finally:
        released.set()
    reasons = ["no image within 0.2 s", "no image within 0.2 s", "failed before in this scan"]
    for image, expected, reason in zip(images, classical(scan=THREE_SLICES), reasons, strict=True):
        assert_fell_back(image, expected, reason)


def test_two_scans_at_once_get_what_each_gets_alone(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    other = simulated_scan(
        simulate_acquisition((48, 48), 4, n_slices=2, seed=1), acceleration=3, n_calibration_lines=16
    )
    alone = [contents(images_of(engine, scan)) for scan in (THREE_SLICES, other)]
    together: list[Any] = [None, None]

    def reconstructs(number: int, scan: Scan) -> None:
        together[number] = contents(images_of(engine, scan))

    threads = [
        threading.Thread(target=reconstructs, args=(i, scan)) for i, scan in enumerate((THREE_SLICES, other))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
