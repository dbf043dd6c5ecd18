"""What the simulated scans obey, and that the target is what a reconstruction tends to."""

from typing import Any

import pytest
import torch

from recon_core import fourier
from recon_core.masks import random_lines
from recon_core.metrics import nrmse
from recon_core.phantom import head_phantom
from recon_core.sense import cg_sense
from recon_core.training.draws import Draws
from recon_core.training.known_maps import estimated_maps
from recon_core.training.random_coils import (
    N_NODES,
    SOFTENING,
    interpolated,
    loop_fields,
    random_sensitivities,
)
from recon_core.training.simulation import FINER, OBJECT, Simulation, _folded, _resolved_kspace, simulate
from recon_core.training.slices import Slice

MATRIX = (96, 80)
FULL = torch.ones(MATRIX, dtype=torch.bool)


def head(kind: Any = "magnitude") -> Slice:
    image = head_phantom((128, 112))
    return Slice(data=image + 0j if kind == "complex" else image, kind=kind, subject="phantom")


def scan(
    sampled: torch.Tensor = FULL, n_coils: int = 6, seed: int = 0, kind: str = "magnitude", **changes: Any
):
    simulation = Simulation(**({"estimated": 0.0, "snr": (1e6, 1e6)} | changes))
    return simulate(head(kind), sampled, n_coils, simulation, Draws("test", seed))


@pytest.mark.parametrize("kind", ["magnitude", "complex", "natural"])
@pytest.mark.parametrize("n_coils", [1, 6])
def test_a_full_noise_free_scan_zero_fills_to_its_target(kind: str, n_coils: int) -> None:
    undersampled, target = scan(kind=kind, n_coils=n_coils)
    assert target.shape == (1, *MATRIX)
    assert target.dtype == torch.complex64
    torch.testing.assert_close(undersampled.zero_filled(), target, atol=1e-4, rtol=0)


def test_sense_tends_to_the_target() -> None:
    """But for what truncation leaves: a truncated object times maps is not quite the truncated product."""
    sampled = random_lines(MATRIX, 1.5, n_calibration=16)
    undersampled, target = scan(sampled, n_coils=12, cropped=0.0, compressed=0.0, augment=False)
    assert undersampled.coil_maps is not None
    kspace, coil_maps = undersampled.kspace[0][:, None], undersampled.coil_maps[0][:, None]
    assert nrmse(fourier.fft(coil_maps * target, (-2, -1)) * sampled, kspace) < 0.01
    assert nrmse(undersampled.zero_filled(), target) > 0.1
    assert nrmse(cg_sense(kspace, coil_maps, sampled[None]), target) < 0.025


def test_what_is_larger_than_the_field_of_view_folds_as_coarser_samples_of_k_space_do() -> None:
    image = torch.randn(3, 64, 20, dtype=torch.complex64)
    every_second = fourier.fft(image, (-2, -1))[:, ::2]
    torch.testing.assert_close(2**0.5 * every_second, fourier.fft(_folded(image, 32), (-2, -1)))


def test_a_head_that_folds_in_needs_a_second_set_of_maps() -> None:
    shares = []
    for wrapped, zoom in ((0.0, 1.2), (1.0, 0.8)):
        undersampled, target = scan(wrapped=wrapped, estimated=1.0, zoom=(zoom, zoom), n_coils=8, seed=3)
        assert undersampled.second_maps is not None
        shares.append(float((undersampled.second_maps.abs().sum(1) > 0).float().mean()))
        combined = fourier.ifft(undersampled.kspace, (-2, -1)).abs().square().sum(1).sqrt()
        torch.testing.assert_close(target.abs(), combined * (target.abs() > 0), rtol=0.05, atol=0.05)
    assert shares[0] < 0.01
    assert shares[1] > 0.04


def test_lines_and_coils_differ_as_told() -> None:
    clean, _ = scan()
    uneven, _ = scan(inconsistent=(0.1, 0.1))
    ratio = (uneven.kspace / clean.kspace)[0, :, :, 40]
    torch.testing.assert_close(ratio, ratio[:1].expand_as(ratio), rtol=0.05, atol=0.05)
    assert float((ratio[0] - 1).abs().square().mean().sqrt()) == pytest.approx(0.1, rel=0.3)


def test_the_same_draws_make_the_same_example_and_others_another() -> None:
    (first, first_target), (again, again_target), (_, other_target) = scan(seed=1), scan(seed=1), scan(seed=2)
    assert torch.equal(first.kspace, again.kspace)
    assert torch.equal(first_target, again_target)
    assert not torch.equal(first_target, other_target)


def test_noise_has_the_level_asked_for_and_is_at_sampled_positions_only() -> None:
    """In a combined image of maps of unit norm the noise is that of a sample of k-space."""
    sampled = random_lines(MATRIX, 2, n_calibration=16)
    quiet, target = scan(sampled, cropped=0.0)
    noisy, _ = scan(sampled, cropped=0.0, snr=(10, 10))
    noise = (noisy.kspace - quiet.kspace)[0]
    signal = target.abs()[target.abs() > OBJECT * target.abs().max()].mean()
    assert float(signal / noise[:, sampled].abs().square().mean().sqrt()) == pytest.approx(10, rel=0.03)
    assert not noise[:, ~sampled].any()


def test_estimated_maps_see_nothing_but_the_samples() -> None:
    sampled = random_lines(MATRIX, 3, n_calibration=16)
    undersampled, _ = scan(sampled, estimated=1.0, snr=(50, 50))
    zero_filled = undersampled.kspace[0]
    assert undersampled.coil_maps is not None
    torch.testing.assert_close(estimated_maps(zero_filled, sampled)[0], undersampled.coil_maps[0])


def test_estimated_and_true_maps_agree_where_there_is_signal() -> None:
    (true, target), (estimated, estimated_target) = (
        scan(estimated=share, snr=(200, 200), cropped=0.0) for share in (0.0, 1.0)
    )
    assert true.coil_maps is not None
    assert estimated.coil_maps is not None
    object_ = target.abs() > 0.2 * target.abs().max()
    alike = (true.coil_maps.conj() * estimated.coil_maps).sum(1).abs()[object_]
    assert float(alike.quantile(0.02)) > 0.97
    assert nrmse(estimated_target[object_], target[object_]) < 0.1


def test_k_space_is_that_of_a_much_finer_grid() -> None:
    """The scan of an object and maps sampled four times finer has the same samples."""
    matrix, fine = (64, 48), (256, 192)
    object_ = head_phantom(fine) + 0j
    nodes = random_sensitivities(4, torch.ones(N_NODES, N_NODES), Draws("fine"), compressed=0.0)
    continuous = _resolved_kspace(interpolated(nodes, fine) * object_, matrix)

    def error(finer: float) -> float:
        grid = (round(finer * matrix[0]), round(finer * matrix[1]))
        resolved = fourier.ifft(_resolved_kspace(object_, grid), (-2, -1))
        return nrmse(_resolved_kspace(interpolated(nodes, grid) * resolved, matrix), continuous)

    assert error(FINER) < 0.01
    assert error(1.0) > 0.03


def test_a_loop_has_the_field_of_the_closed_form_on_its_axis() -> None:
    """B = 2π R² / (R² + d²)^{3/2} for unit current and μ₀/4π, the softening added to R² + d²."""
    centre, radius = torch.tensor([[1.5, 0.0, 0.0]]), torch.tensor([0.6])
    field = loop_fields(centre, torch.tensor([[-1.0, 0.0, 0.0]]), radius)[0]
    on_axis = field[N_NODES // 2 - 1 : N_NODES // 2 + 1].mean(0)
    distance = 1.5 - torch.linspace(-1, 1, N_NODES)
    expected = 2 * torch.pi * 0.36 / (0.36 + distance.square() + SOFTENING**2).pow(1.5)
    torch.testing.assert_close(on_axis.real.abs(), expected, rtol=0.01, atol=0)
    assert float(on_axis.imag.abs().max()) < 1e-5 * float(expected.max())


def test_maps_have_unit_norm_or_are_zero() -> None:
    undersampled, _ = scan(cropped=1.0)
    assert undersampled.coil_maps is not None
    norm = undersampled.coil_maps.abs().square().sum(1)
    assert bool(((norm - 1).abs() < 1e-4).logical_or(norm == 0).all())
    assert 0.1 < float((norm == 0).float().mean()) < 0.9


def test_a_plain_image_keeps_its_pixels() -> None:
    _, target = simulate(
        head(),
        torch.ones(128, 112, dtype=torch.bool),
        1,
        Simulation(augment=False, phase=0.0),
        Draws("plain"),
    )
    torch.testing.assert_close(target[0].abs(), head().data, atol=2e-2, rtol=0)


def test_a_measured_target_is_the_full_scan_with_its_noise() -> None:
    quiet, clean = scan(cropped=0.0)
    noisy, target = scan(cropped=0.0, snr=(10, 10), target="measured")
    torch.testing.assert_close(noisy.zero_filled(), target, atol=1e-5, rtol=0)
    assert nrmse(target, clean) > 0.05
    assert nrmse(quiet.zero_filled(), clean) < 1e-3


def test_an_interpolating_scanner_leaves_the_border_of_kspace_empty() -> None:
    undersampled, _ = scan(interpolated=1.0, snr=(10, 10))
    empty = (undersampled.kspace[0] == 0).all(0)
    acquired = ~empty.all(1)
    assert 0.7 * MATRIX[0] - 1 <= int(acquired.sum()) < MATRIX[0]
    assert not empty[acquired][:, ~empty.all(0)].any()


def test_grain_is_what_all_coils_agree_on() -> None:
    smooth, _ = scan(cropped=0.0)
    undersampled, target = scan(cropped=0.0, grain=1.0)
    assert nrmse(target, scan(cropped=0.0)[1]) > 0.005
    assert undersampled.coil_maps is not None
    left = undersampled.kspace - fourier.fft(undersampled.coil_maps * target, (-2, -1))
    assert float(left.norm() / undersampled.kspace.norm()) < 0.02
    assert smooth.noise_std is not None
    assert undersampled.noise_std is not None
    assert float(undersampled.noise_std) == pytest.approx(float(smooth.noise_std), rel=0.2)
