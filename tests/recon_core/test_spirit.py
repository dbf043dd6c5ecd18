"""SPIRiT reconstructions: their projections in k-space, what must stay, and what coils obey exactly."""

import pytest
import torch

from recon_core.errors import InputError
from recon_core.fourier import fft, ifft
from recon_core.masks import poisson_disc, random_lines
from recon_core.spirit import calibration_consistency
from recon_core.spirit_operator import CoilMixing, spirit_matrices

PLANE = (-2, -1)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def patterns(shape: tuple[int, int]) -> dict[str, torch.Tensor]:
    lines = random_lines(shape, 3, n_calibration=2)
    return {
        "points": poisson_disc(shape, 3, calibration=(2, 2)),
        "lines along kx": lines,
        "lines along ky": random_lines(shape[::-1], 3, n_calibration=2).T,
        "everything": torch.ones_like(lines),
        "nothing": torch.zeros_like(lines),
    }


@pytest.mark.parametrize("pattern", patterns((19, 16)))
@pytest.mark.parametrize("shape", [(19, 16), (16, 21)])
def test_projections_are_those_written_out_in_centred_kspace(pattern: str, shape: tuple[int, int]) -> None:
    sampled = patterns(shape)[pattern]
    kspace, kernel = noise(2, 3, *shape), 0.2 * noise(2, 3, 3, 5, 5, seed=1)
    mixing_op = CoilMixing(spirit_matrices(kernel, shape))
    expected = kspace
    for _ in range(3):
        expected = torch.where(sampled, kspace, fft(mixing_op(ifft(expected, PLANE)), PLANE))
    actual = calibration_consistency(kspace, sampled.expand(2, *shape), kernel, n_projections=3)
    torch.testing.assert_close(actual, expected)


def test_acquired_samples_stay_to_the_bit() -> None:
    kspace, sampled = noise(2, 3, 24, 20).to(torch.complex64), patterns((24, 20))["points"]
    projected = calibration_consistency(kspace, sampled[None], noise(2, 3, 3, 5, 5).to(torch.complex64))
    assert torch.equal(projected[..., sampled], kspace[..., sampled])


@pytest.mark.parametrize("pattern", ["points", "lines along kx"])
def test_gradient_of_the_projections_is_that_of_finite_differences(pattern: str) -> None:
    sampled = torch.stack([patterns((7, 6))[pattern], patterns((7, 6))["everything"]])
    kspace, kernel = noise(2, 2, 7, 6).requires_grad_(), noise(2, 2, 2, 3, 3, seed=1)
    assert torch.autograd.gradcheck(lambda y: calibration_consistency(y, sampled, kernel, 2), kspace)


def test_shapes_that_do_not_fit_are_refused() -> None:
    kspace, sampled, kernel = noise(2, 3, 8, 8), torch.ones(2, 8, 8, dtype=torch.bool), noise(2, 3, 3, 5, 5)
    for wrong in [
        (kspace[0], sampled, kernel),
        (kspace, sampled[..., :4], kernel),
        (kspace, sampled.to(torch.float32), kernel),
        (kspace, sampled, kernel[:, :2, :2]),
        (kspace, sampled, torch.cat([kernel, kernel])),
    ]:
        with pytest.raises(InputError, match="coils of this k-space"):
            calibration_consistency(*wrong)


@pytest.mark.cuda
def test_cuda_agrees_with_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    kspace, sampled, kernel = noise(2, 3, 24, 20), patterns((24, 20))["points"][None], noise(2, 3, 3, 5, 5)
    on_gpu = calibration_consistency(kspace.cuda(), sampled.cuda(), kernel.cuda())
    torch.testing.assert_close(on_gpu.cpu(), calibration_consistency(kspace, sampled, kernel))
