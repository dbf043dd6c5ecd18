"""Volumes, taken apart into slices for a network."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from gadgets.mrd_images import FALLBACK
from pipelines.importers.cartesian import cartesian_scan
from pipelines.sources import Scan
from recon_core.engine.engine import Engine
from recon_core.fourier import fft, ifft
from recon_core.masks import poisson_disc
from recon_core.nets.undersampled import Undersampled
from tests.gadgets.small_scan import head_volume, random_complex
from tests.model_packages import network_package
from tests.pipelines.network_scans import images_of, note_of


def test_a_volume_goes_through_the_network_slice_by_slice_across_the_readout(
    engine: Engine, tmp_path: Path
) -> None:
    network_package(tmp_path, "d5c5", weights=torch.zeros_like, noise_level=(0, 10))
    scan, zero_filled = volume(np.random.default_rng(0).random((15, 18)) < 0.5)
    (image,) = images_of(engine, scan, "cartesian_universal", anatomy="brain")
    assert image.meta[FALLBACK] == "false"
    assert np.abs(image.data[0] - np.abs(zero_filled)).max() < 1e-5 * np.abs(zero_filled).max()


def test_a_volume_goes_through_slice_by_slice_as_it_is_where_all_partitions_have_the_same_lines(
    engine: Engine, tmp_path: Path
) -> None:
    network_package(tmp_path, "d5c5", weights=torch.zeros_like, noise_level=(0, 10), masks=("random_lines",))
    lines = np.random.default_rng(0).random(18) < 0.5
    scan, zero_filled = volume(np.broadcast_to(lines, (15, 18)))
    (image,) = images_of(engine, scan, "cartesian_universal", anatomy="brain")
    assert image.meta[FALLBACK] == "false"
    assert np.abs(image.data[0] - np.abs(zero_filled)).max() < 1e-5 * np.abs(zero_filled).max()


def test_every_slice_of_a_volume_is_that_of_the_network_alone(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path, "d5c5", noise_level=(0, 10))
    sampled = np.random.default_rng(0).random((15, 18)) < 0.5
    scan, _ = volume(sampled)
    (image,) = images_of(engine, scan, "cartesian_universal", anatomy="brain")
    across = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(volume_kspace(sampled), 2), norm="ortho"), 2)
    for x in (0, 11):
        alone = Undersampled(
            kspace=torch.from_numpy(across[None, None, :, :, x].astype(np.complex64)),
            sampled=torch.from_numpy(sampled[None]),
        )
        expected = (
            engine.reconstruct("universal_d5c5_distilled", alone, anatomy="brain").image[0].abs().numpy()
        )
        assert np.allclose(image.data[0, :, :, x], expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_partitions_without_an_object_do_not_keep_a_volume_from_the_network(
    engine: Engine, tmp_path: Path
) -> None:
    """Ends of the readout that see air are all noise, as no slice is that a network was trained on."""
    network_package(tmp_path)
    head, _ = head_volume(4, (20, 22, 24))
    kspace = fft(torch.nn.functional.pad(ifft(head), (6, 6)))
    kspace += torch.from_numpy(1e-3 * random_complex(kspace.shape))
    sampled = poisson_disc((20, 22), 1.6, calibration=(14, 14))
    scan = cartesian_scan((kspace * sampled[..., None]).numpy(), "coil kz ky kx", where="volume")
    (image,) = images_of(engine, scan)
    assert image.meta[FALLBACK] == "false"
    assert image.data.shape == (1, 20, 22, 36)
    assert image.data[..., :4].max() < 0.05 * image.data.max()


def test_a_volume_is_asked_for_a_few_slices_at_a_time_after_all_have_passed_the_gate(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that its time limit does not depend on its size, and no session has to wait for all of it."""
    network_package(tmp_path, "d5c5", noise_level=(0, 10))
    asked: list[int] = []
    reconstruct = Engine.reconstruct

    def counted(self: Engine, model: str, undersampled: Undersampled, **settings: Any) -> Any:
        asked.append(len(undersampled))
        return reconstruct(self, model, undersampled, **settings)

    monkeypatch.setattr(Engine, "reconstruct", counted)
    scan, _ = volume(np.random.default_rng(0).random((15, 18)) < 0.5)
    (image,) = images_of(engine, scan, "cartesian_universal", anatomy="brain")
    assert image.meta[FALLBACK] == "false"
    assert asked == [8, 8, 5]

    asked.clear()
    (image,) = images_of(engine, scan, "cartesian_universal", anatomy="foot")
    assert "anatomy 'foot' is none of brain, knee" in note_of(image)
    assert asked == []


def volume_kspace(sampled: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(kz, ky, kx), of odd and unequal sizes."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((*sampled.shape, 21)) + 1j * rng.standard_normal((*sampled.shape, 21))
    return noise.astype(np.complex64) * sampled[..., None]


def volume(sampled: np.ndarray[Any, Any]) -> tuple[Scan, np.ndarray[Any, Any]]:
    """A single-coil volume with these lines, `(kz, ky)`, and its zero-filled image."""
    kspace = volume_kspace(sampled)
    image = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(kspace), norm="ortho"))
    return cartesian_scan(kspace[None], "coil kz ky kx", where="volume"), image


def test_a_volume_without_a_fully_sampled_axis_gives_the_classical_image(
    engine: Engine, tmp_path: Path
) -> None:
    network_package(tmp_path, "d5c5")
    header, blocks = volume(np.random.default_rng(0).random((15, 18)) < 0.5)[0], []
    for block in header.items():
        headers = block.headers.copy()
        headers["number_of_samples"] -= 9  # an asymmetric echo: the last samples are not there
        blocks.append(
            replace(block, headers=headers, data=block.data[..., :-9], trajectory=block.trajectory[:, :-9])
        )
    (image,) = images_of(engine, header, "cartesian_universal", blocks, anatomy="brain")
    assert image.meta[FALLBACK] == "true"
    assert "expected kz or kx to be fully sampled" in note_of(image)
