"""Recipes with networks: which scans a network takes, and what an image says of it."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from gadgets.mrd_images import FALLBACK
from gadgets.reconstructed import METHOD
from gadgets.records import Readouts
from pipelines.simulated_scan import simulated_scan
from pipelines.sources import Scan
from recon_core.engine.engine import Engine
from recon_core.errors import GadgetError
from recon_core.simulate import simulate_acquisition
from tests.model_packages import network_package
from tests.pipelines.network_scans import (
    SCAN,
    SIMULATION,
    THREE_SLICES,
    assert_fell_back,
    assert_is_network,
    classical,
    images_of,
    note_of,
)


def test_an_image_of_a_network_names_it(engine: Engine, tmp_path: Path) -> None:
    package = network_package(tmp_path)
    images = images_of(engine, THREE_SLICES)
    assert len(images) == 3
    for image in images:
        assert_is_network(image)
        assert image.meta["Reconstream.Model"] == "multicoil_cascade@1"
        assert image.meta["Reconstream.ModelHash"] == package.hash
        assert image.meta["Reconstream.Precision"] == "float32"
        assert image.meta["Reconstream.Unchecked"] == ["contrast"]


def test_more_coils_than_the_network_takes_are_compressed(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    many = simulated_scan(simulate_acquisition((48, 48), 10), acceleration=2, n_calibration_lines=16)
    (image,) = images_of(engine, many)
    assert_is_network(image)


def test_a_network_that_learned_nothing_zero_fills_a_single_coil(engine: Engine, tmp_path: Path) -> None:
    """Without weights D5C5 is data consistency alone: what was measured, and zeros."""
    network_package(tmp_path, "d5c5", weights=torch.zeros_like)
    one_coil = simulated_scan(simulate_acquisition((40, 36), 1), acceleration=2, n_calibration_lines=16)
    (image,) = images_of(engine, one_coil, "cartesian_universal", anatomy="knee")
    (expected,) = classical("cartesian_fft", one_coil)
    assert image.meta["Reconstream.Model"] == "universal_d5c5_distilled@1"
    assert np.abs(image.data - expected.data).max() < 1e-5 * expected.data.max()


FOOT = replace(SCAN, header_xml=SCAN.header_xml.replace(b"HEAD", b"FOOT"))


def test_a_scan_of_another_anatomy_than_the_networks_gives_the_classical_image(
    engine: Engine, tmp_path: Path
) -> None:
    network_package(tmp_path, anatomies=("knee",))
    for image, expected in zip(images_of(engine, FOOT), classical(), strict=True):
        assert_fell_back(image, expected, "anatomy 'foot' is none of knee")


def test_a_network_for_several_anatomies_takes_another_and_says_so(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    for image in images_of(engine, FOOT):
        assert_is_network(image)
        assert image.meta["Reconstream.Unchecked"] == ["anatomy 'foot'", "contrast"]


def test_what_the_gate_refuses_goes_to_the_network_where_the_recipe_allows_it_and_is_noted(
    engine: Engine, tmp_path: Path
) -> None:
    network_package(tmp_path, anatomies=("knee",))
    for image in images_of(engine, FOOT, allow_out_of_range=True):
        assert image.meta[FALLBACK] == "false"
        assert image.meta["Reconstream.Model"] == "multicoil_cascade@1"
        assert "multicoil_cascade@1': anatomy 'foot' is none of knee" in note_of(image)


def test_an_anatomy_that_nobody_tells_is_asked_for(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path, "d5c5")
    silent = replace(SCAN, header_xml=SCAN.header_xml.replace(b"HEAD", b""))
    for image, expected in zip(images_of(engine, silent, "cartesian_universal"), classical(), strict=True):
        assert_fell_back(image, expected, "expected an anatomy of brain, knee")
        assert "set NetworkReconstruction.anatomy" in note_of(image)


def test_acceleration_30_gives_the_classical_image(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path, n_coils=(1, 1))
    one_coil = simulated_scan(simulate_acquisition((64, 64), 1), acceleration=30, n_calibration_lines=0)
    (image,) = images_of(engine, one_coil)
    assert image.meta[METHOD] == "wavelet SENSE"
    assert image.meta[FALLBACK] == "true"
    assert "acceleration 21.33 is outside 1.2 to 5" in note_of(image)


def test_too_few_calibration_lines_for_maps_leave_a_zero_filled_image(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    sparse = simulated_scan(SIMULATION, acceleration=30, n_calibration_lines=2)
    for image, expected in zip(images_of(engine, sparse), classical("cartesian_fft", sparse), strict=True):
        assert_fell_back(image, expected, "give more calibration lines")


@pytest.mark.parametrize("n_lines", [5, 10])
def test_too_few_calibration_lines_for_a_network_leave_wavelet_sense(
    engine: Engine, tmp_path: Path, n_lines: int
) -> None:
    network_package(tmp_path)
    sparse = simulated_scan(SIMULATION, acceleration=4, n_calibration_lines=n_lines)
    for image, expected in zip(
        images_of(engine, sparse), classical("cartesian_wavelet", sparse), strict=True
    ):
        assert_fell_back(image, expected, f"expected at least 11 calibration lines, got {n_lines}")


def test_full_sampling_is_left_to_the_fourier_transform(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    full = simulated_scan(SIMULATION)
    for image, expected in zip(images_of(engine, full), classical("cartesian_fft", full), strict=True):
        assert_fell_back(image, expected, "acceleration 1 is outside 1.2 to 5")


def test_a_zero_filled_edge_beyond_the_kernel_is_left_to_partial_fourier(
    engine: Engine, tmp_path: Path
) -> None:
    """Lines 0 to 39 of 48 about line 16: eight never come."""
    network_package(tmp_path)
    for n_missing, is_used in ((7, True), (8, False)):
        scan = partial_fourier(n_missing)
        images = images_of(engine, scan)
        for image, expected in zip(images, classical("cartesian_wavelet", scan), strict=True):
            if is_used:
                assert image.meta[FALLBACK] == "false"
            else:
                reason = "expected k-space acquired to its edges, got 8 of 48 samples empty at one end of ky"
                assert_fell_back(image, expected, reason)
                assert image.meta["Reconstream.PartialFourier"] == "pocs along ky"


def partial_fourier(n_missing: int) -> Scan:
    limits = b"<maximum>47</maximum><center>24</center>"
    fewer = f"<minimum>{n_missing}</minimum>".encode() + limits
    header_xml = SCAN.header_xml.replace(b"<minimum>0</minimum>" + limits, fewer)
    assert header_xml != SCAN.header_xml

    def items() -> Iterator[Readouts]:
        noise, *slices = SCAN.items()
        yield noise
        yield from (
            block.select(block.headers["idx"]["kspace_encode_step_1"] >= n_missing) for block in slices
        )

    return Scan(header_xml, items)


def test_a_scan_without_anything_to_reconstruct_is_a_clear_error(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    noise, *_ = SCAN.items()
    with pytest.raises(GadgetError, match="recipe 'cartesian_cascade', gadget Accumulate"):
        images_of(engine, items=[noise])
