"""SPIRiT kernels against least squares window by window, and against what coils obey exactly."""

from itertools import product

import numpy as np
import pytest
import torch

from recon_core.coils.spirit_kernel import spirit_kernel
from recon_core.errors import CalibrationError, InputError


def random_kspace(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def kernel_coil_by_coil(calibration: np.ndarray, width: int, regularisation: float) -> np.ndarray:
    """One regularised least-squares problem for each coil, from a list of windows."""
    n_coils, n_y, n_x = calibration.shape
    corners = product(range(n_y - width + 1), range(n_x - width + 1))
    windows = np.array([calibration[:, y : y + width, x : x + width].ravel() for y, x in corners])
    gram = windows.conj().T @ windows
    weight = regularisation * np.linalg.norm(gram) / len(gram)
    kernel = np.zeros((n_coils, n_coils * width**2), dtype=complex)
    for coil in range(n_coils):
        own = coil * width**2 + width**2 // 2
        others = np.delete(np.arange(len(gram)), own)
        augmented = np.vstack([windows[:, others], np.sqrt(weight) * np.eye(len(others))])
        wanted = np.concatenate([windows[:, own], np.zeros(len(others))])
        kernel[coil, others] = np.linalg.lstsq(augmented, wanted, rcond=None)[0]
    return kernel.reshape(n_coils, n_coils, width, width)


@pytest.mark.parametrize(
    ("width", "shape"), [(3, (3, 9, 14)), (5, (2, 13, 11)), (7, (2, 14, 15)), (1, (3, 4, 5))]
)
@pytest.mark.parametrize("regularisation", [1e-2, 1e-6])
def test_kernel_is_regularised_least_squares_of_every_coil(
    width: int, shape: tuple[int, ...], regularisation: float
) -> None:
    calibration = random_kspace(*shape)
    kernel = spirit_kernel(calibration, width, regularisation)
    expected = kernel_coil_by_coil(calibration.numpy(), width, regularisation)
    np.testing.assert_allclose(kernel.numpy(), expected, atol=1e-9)


def test_own_sample_of_own_coil_is_exactly_zero() -> None:
    kernel = spirit_kernel(random_kspace(4, 20, 20).to(torch.complex64), 5)
    assert kernel.dtype == torch.complex64
    assert torch.equal(kernel[..., 2, 2].diagonal(), torch.zeros(4, dtype=torch.complex64))


def test_slices_are_calibrated_as_they_are_alone() -> None:
    slices = random_kspace(3, 2, 16, 17)
    together = spirit_kernel(slices, 5)
    for kernel, calibration in zip(together, slices, strict=True):
        torch.testing.assert_close(kernel, spirit_kernel(calibration, 5))


def test_kernel_does_not_depend_on_the_scale_of_the_data() -> None:
    calibration = random_kspace(3, 16, 16)
    torch.testing.assert_close(spirit_kernel(1e-6 * calibration, 5), spirit_kernel(calibration, 5))


def test_coil_shifted_by_two_samples_is_predicted_from_there() -> None:
    """Coil 1 is coil 0 at p + (0, 2), with nothing else to predict white noise from."""
    noise = random_kspace(60, 62)
    calibration = torch.stack([noise[:, :-2], noise[:, 2:]])
    kernel = spirit_kernel(calibration, 5, 1e-9)
    expected = torch.zeros_like(kernel)
    expected[1, 0, 2, 4] = expected[0, 1, 2, 0] = 1
    torch.testing.assert_close(kernel, expected, atol=1e-6, rtol=0)


def test_too_small_a_calibration_names_what_is_needed() -> None:
    with pytest.raises(CalibrationError, match=r"at least 13 x 13 .* width 7, got 6 x 40"):
        spirit_kernel(random_kspace(2, 6, 40))
    with pytest.raises(CalibrationError, match=r"at least 13 x 13 .* got 10 x 16"):
        spirit_kernel(random_kspace(2, 10, 16))
    spirit_kernel(random_kspace(2, 13, 13))


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_calibration_without_signal_is_refused(value: float) -> None:
    with pytest.raises(CalibrationError, match="expected calibration data with signal"):
        spirit_kernel(torch.full((2, 24, 24), value, dtype=torch.complex64))


def test_repeated_coils_need_regularisation() -> None:
    calibration = random_kspace(1, 24, 24).expand(2, 24, 24)
    with pytest.raises(CalibrationError, match="raise regularisation"):
        spirit_kernel(torch.zeros_like(calibration) + 1, regularisation=0.0)
    assert torch.isfinite(torch.view_as_real(spirit_kernel(calibration))).all()


def test_even_width_and_missing_coil_axis_are_refused() -> None:
    with pytest.raises(InputError, match="odd width"):
        spirit_kernel(random_kspace(2, 24, 24), 6)
    with pytest.raises(InputError, match="coil, ky, kx"):
        spirit_kernel(random_kspace(24, 24))


@pytest.mark.cuda
def test_cuda_agrees_with_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    calibration = random_kspace(2, 4, 24, 24)
    torch.testing.assert_close(spirit_kernel(calibration.cuda()).cpu(), spirit_kernel(calibration))
