"""SPIRiT reconstructions: their projections in k-space, what must stay, and what coils obey exactly."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import pywt
import torch

from recon_core.coils.spirit_kernel import spirit_kernel
from recon_core.errors import CalibrationError, InputError
from recon_core.fourier import fft, ifft, resize
from recon_core.linop import LinearOperator
from recon_core.masks import equispaced_lines, poisson_disc, random_lines
from recon_core.metrics import nrmse
from recon_core.simulate import simulate_acquisition
from recon_core.spirit import calibration_consistency, cg_spirit, l1_spirit
from recon_core.spirit_operator import CoilMixing, spirit_matrices

PLANE = (-2, -1)
Reconstruct = Callable[..., torch.Tensor]


@pytest.fixture(scope="module")
def head() -> torch.Tensor:
    """Simulated k-space (coil, 1, ky, kx) of the head phantom: 8 coils, 96 x 80."""
    return simulate_acquisition((96, 80), 8, oversampling=1, snr=60.0).kspace[0]


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
    assert torch.autograd.gradcheck(
        lambda y: calibration_consistency(y, sampled, kernel, 2), kspace, fast_mode=True
    )


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


def dense(operator: LinearOperator, shape: tuple[int, ...]) -> torch.Tensor:
    """The matrix of an operator on k-space of one slice, column by column."""
    n = math.prod(shape)
    units = torch.eye(n, dtype=torch.complex128).view(n, *shape)
    return operator(units).reshape(n, n).T


class InKspace(LinearOperator):
    """F A Fᴴ."""

    def __init__(self, operator: LinearOperator) -> None:
        self.operator = operator

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return fft(self.operator(ifft(x, PLANE)), PLANE)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return fft(self.operator.H(ifft(y, PLANE)), PLANE)


@pytest.mark.parametrize("pattern", ["points", "lines along kx", "lines along ky"])
@pytest.mark.parametrize("regularisation", [0.0, 0.3])
def test_cg_spirit_is_least_squares_in_the_missing_samples(pattern: str, regularisation: float) -> None:
    shape = (7, 6)
    sampled = patterns(shape)[pattern]
    kspace, kernel = noise(2, *shape), 0.3 * noise(2, 2, 3, 3, seed=1)
    residual = dense(InKspace(CoilMixing(spirit_matrices(kernel, shape))), (2, *shape))
    residual = residual - torch.eye(len(residual))
    missing = (~sampled).expand(2, *shape).flatten()
    matrix = torch.cat([residual[:, missing], regularisation**0.5 * torch.eye(int(missing.sum()))])
    rhs = -residual[:, ~missing] @ kspace.flatten()[~missing]
    rhs = torch.cat([rhs, rhs.new_zeros(int(missing.sum()))])
    expected = kspace.flatten().clone()
    expected[missing] = torch.linalg.lstsq(matrix, rhs[:, None]).solution[:, 0]
    filled = cg_spirit(
        kspace[None], sampled[None], kernel[None], n_iterations=200, regularisation=regularisation
    )
    torch.testing.assert_close(filled[0].flatten(), expected)


def test_l1_spirit_is_its_projections_written_with_numpy_and_pywavelets() -> None:
    """Thresholded jointly over the coils, at the shifts of the seed."""
    shape = (32, 48)
    sampled = patterns(shape)["points"]
    kspace, kernel = noise(3, *shape), 0.1 * noise(3, 3, 5, 5, seed=1)
    data = torch.fft.ifftshift(kspace * sampled, dim=PLANE).numpy()
    mask = torch.fft.ifftshift(sampled).numpy()
    matrices = spirit_matrices(kernel, shape, origin_first=PLANE).numpy()
    threshold = 0.1 * np.abs(np.fft.ifft2(data, norm="ortho")).max()
    estimate = data
    for shift in np.random.default_rng(5).integers(0, shape, size=(3, 2)):
        mixed = np.einsum("ijyx,jyx->iyx", matrices, np.fft.ifft2(estimate, norm="ortho"))
        estimate = np.where(mask, data, np.fft.fft2(mixed, norm="ortho"))
        image = np.roll(np.fft.ifft2(estimate, norm="ortho"), shift, axis=PLANE)
        coefficients, places = pywt.coeffs_to_array(
            pywt.wavedec2(image, "db4", "periodization", level=2), axes=PLANE
        )
        size = np.linalg.norm(coefficients, axis=0)
        coefficients = coefficients * np.maximum(size - threshold, 0) / size
        kept = pywt.array_to_coeffs(coefficients, places, "wavedec2")
        image = np.roll(pywt.waverec2(kept, "db4", "periodization"), -shift, axis=PLANE)
        estimate = np.where(mask, data, np.fft.fft2(image, norm="ortho"))
    filled = l1_spirit(
        (kspace * sampled)[None], sampled[None], kernel[None], n_iterations=3, regularisation=0.1, seed=5
    )
    expected = torch.fft.fftshift(torch.from_numpy(estimate), dim=PLANE)
    torch.testing.assert_close(filled[0], expected)


def test_without_threshold_l1_spirit_is_the_projections_alone() -> None:
    kspace, sampled = noise(2, 3, 24, 20), patterns((24, 20))["points"][None]
    kernel = 0.03 * noise(2, 3, 3, 5, 5, seed=1)
    projected = calibration_consistency(kspace, sampled, kernel, n_projections=4)
    filled = l1_spirit(kspace, sampled, kernel, n_iterations=4, regularisation=0)
    torch.testing.assert_close(filled, projected)


@pytest.mark.parametrize("reconstruct", [cg_spirit, l1_spirit])
def test_slices_are_reconstructed_as_they_are_alone_at_any_scale(reconstruct: Reconstruct) -> None:
    scale = torch.tensor([1.0, 1e-4])[:, None, None, None]
    kspace, kernel = scale * noise(2, 3, 32, 32), 0.03 * noise(2, 3, 3, 5, 5, seed=1)
    sampled = torch.stack([patterns((32, 32))[name] for name in ("points", "lines along kx")])
    together = reconstruct(kspace, sampled, kernel)
    for i in range(2):
        alone = reconstruct(kspace[i : i + 1] / scale[i], sampled[i : i + 1], kernel[i : i + 1])
        torch.testing.assert_close(together[i : i + 1] / scale[i], alone)


@pytest.mark.parametrize("reconstruct", [cg_spirit, l1_spirit])
@pytest.mark.parametrize("pattern", ["everything", "nothing"])
def test_nothing_to_fill_and_nothing_to_fill_from(reconstruct: Reconstruct, pattern: str) -> None:
    sampled = patterns((16, 16))[pattern]
    kspace = noise(1, 2, 16, 16) * sampled
    filled = reconstruct(kspace, sampled[None], 0.1 * noise(1, 2, 2, 5, 5))
    torch.testing.assert_close(filled, kspace)


@pytest.mark.parametrize("rate", [2, 3])
def test_noiseless_harmonic_coils_are_recovered(rate: int) -> None:
    """Each coil's k-space is that of coil 0 shifted, so that neighbours hold every missing sample."""
    wide = resize(noise(30, 28), (48, 48))
    kspace = torch.stack([wide.roll(shift, 0) for shift in range(rate)])[None]
    sampled = equispaced_lines((48, 48), rate, n_calibration=20)[None]
    kernel = spirit_kernel(resize(kspace[0], (20, 20)), 5, 1e-9)[None]
    slices = kspace * sampled, sampled, kernel
    assert nrmse(cg_spirit(*slices, n_iterations=60), kspace) < 1e-6
    assert nrmse(l1_spirit(*slices, n_iterations=60, regularisation=0), kspace) < 1e-6


@pytest.mark.parametrize("reconstruct", [cg_spirit, l1_spirit])
def test_a_hole_larger_than_the_kernel_stays_below_its_surroundings(
    reconstruct: Reconstruct, head: torch.Tensor
) -> None:
    kspace = head[:, 0][None]
    sampled = equispaced_lines((96, 80), 2, offset=0).expand(96, 80).clone()
    sampled[64:80] = False
    kernel = spirit_kernel(resize(kspace[0], (24, 24)))[None]
    filled = reconstruct(kspace * sampled, sampled[None], kernel)
    assert filled[:, :, 64:80].abs().amax() < filled[:, :, 60:64].abs().amax()
    there = [*range(64), *range(80, 96)]
    assert nrmse(filled[:, :, there], kspace[:, :, there]) < 0.2


def test_diverging_projections_are_refused_and_conjugate_gradients_are_not() -> None:
    sampled = patterns((24, 24))["points"][None]
    kspace, kernel = noise(1, 2, 24, 24) * sampled, noise(1, 2, 2, 5, 5, seed=1)
    with pytest.raises(CalibrationError, match="more regularisation"):
        l1_spirit(kspace, sampled, kernel)
    assert torch.isfinite(torch.view_as_real(cg_spirit(kspace, sampled, kernel))).all()


@pytest.mark.cuda
def test_cuda_agrees_with_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    kspace, sampled, kernel = noise(2, 3, 24, 20), patterns((24, 20))["points"][None], noise(2, 3, 3, 5, 5)
    on_gpu = calibration_consistency(kspace.cuda(), sampled.cuda(), kernel.cuda())
    torch.testing.assert_close(on_gpu.cpu(), calibration_consistency(kspace, sampled, kernel))
