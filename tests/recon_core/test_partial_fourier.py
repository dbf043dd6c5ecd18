"""Partial Fourier against objects whose phase is known to be smooth, and against the full scan."""

from collections.abc import Callable

import pytest
import torch

from recon_core.errors import InputError
from recon_core.fourier import fft, ifft
from recon_core.metrics import nrmse
from recon_core.partial_fourier import homodyne, pocs, zero_fill
from recon_core.phantom import head_phantom
from recon_core.simulate import loop_coil_maps

Completion = Callable[..., torch.Tensor]
COMPLETIONS = (homodyne, pocs)


def run(n: int, first: int, last: int) -> torch.Tensor:
    sampled = torch.zeros(n, dtype=torch.bool)
    sampled[first : last + 1] = True
    return sampled


def smooth_phase_kspace(n_y: int = 96, n_x: int = 90) -> torch.Tensor:
    """Three coils, (coil, 1, ky, kx), of the head with the coils' own smooth phase; no noise."""
    image = loop_coil_maps(3, (n_y, n_x)) * head_phantom((n_y, n_x))
    return fft(image[:, None].to(torch.complex128))


@pytest.mark.parametrize("completion", COMPLETIONS)
@pytest.mark.parametrize("axis", [-1, -2])
@pytest.mark.parametrize("cut_front", [True, False])
def test_smooth_phase_is_recovered_from_six_eighths(
    completion: Completion, axis: int, cut_front: bool
) -> None:
    kspace = smooth_phase_kspace()
    n = kspace.shape[axis]
    sampled = run(n, n // 4, n - 1) if cut_front else run(n, 0, n - n // 4 - 1)
    truth = ifft(kspace)
    zero_filled = nrmse(ifft(zero_fill(kspace, sampled, axis)), truth)
    completed = nrmse(ifft(completion(kspace, sampled, axis)), truth)
    assert zero_filled > 0.07
    # Homodyne discards what of the acquired samples does not fit the phase, POCS keeps it.
    assert completed < (0.02 if completion is pocs else 0.03)
    assert completed < zero_filled / (5 if completion is pocs else 3)


@pytest.mark.parametrize("completion", COMPLETIONS)
def test_a_real_object_is_recovered_exactly(completion: Completion) -> None:
    """Its phase is zero (or π), at any resolution, wherever the low-resolution image keeps its sign."""
    generator = torch.Generator().manual_seed(0)
    image = 2 + torch.rand((1, 1, 1, 33), dtype=torch.float64, generator=generator)
    kspace = fft(image.to(torch.complex128))
    iterations = {"n_iterations": 60} if completion is pocs else {}
    completed = completion(kspace, run(33, 0, 22), -1, **iterations)
    torch.testing.assert_close(completed, kspace, atol=1e-9, rtol=0)


@pytest.mark.parametrize("completion", [zero_fill, *COMPLETIONS])
@pytest.mark.parametrize("axis", [-1, -2, -3])
def test_full_sampling_is_identity(completion: Completion, axis: int) -> None:
    kspace = torch.randn((2, 3, 5, 6, 8), dtype=torch.complex64, generator=torch.Generator().manual_seed(0))
    n = kspace.shape[axis]
    assert torch.equal(completion(kspace, torch.ones(n, dtype=torch.bool), axis), kspace)
    symmetric = run(n, n // 2 - 1, n // 2 + 1)
    torch.testing.assert_close(completion(kspace, symmetric, axis), zero_fill(kspace, symmetric, axis))


def test_pocs_keeps_acquired_samples_and_fills_no_further_than_the_longer_side() -> None:
    kspace = smooth_phase_kspace(48, 40)
    sampled = run(48, 6, 30)
    completed = pocs(kspace, sampled, -2)
    assert torch.equal(completed[:, :, sampled], kspace[:, :, sampled])
    rows = completed.abs().amax(dim=(0, 1, 3))
    assert (rows[31:43] > 0).all()
    assert rows[:6].max() < 1e-12
    assert rows[43:].max() < 1e-12


@pytest.mark.parametrize("completion", COMPLETIONS)
def test_a_third_axis_and_batches_are_completed_alike(completion: Completion) -> None:
    plane = smooth_phase_kspace(40, 36)
    sampled = run(40, 0, 28)
    expected = completion(plane, sampled, -2)
    turned = plane.transpose(-3, -2)[None]
    torch.testing.assert_close(completion(turned, sampled, -3)[0], expected.transpose(-3, -2))


def test_unusable_sampling_is_refused() -> None:
    kspace = torch.zeros((1, 1, 8, 8), dtype=torch.complex64)
    gap = run(8, 0, 7)
    gap[5] = False
    with pytest.raises(InputError, match="gaps"):
        pocs(kspace, gap, -1)
    with pytest.raises(InputError, match="phase is unknown"):
        homodyne(kspace, run(8, 0, 4), -1)
    with pytest.raises(InputError, match="one bool for each"):
        zero_fill(kspace, run(7, 0, 6), -1)
    with pytest.raises(InputError, match="axis 1"):
        pocs(kspace, run(8, 0, 6), 1)
