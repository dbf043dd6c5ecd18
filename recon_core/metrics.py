"""Image quality against a reference, as fastMRI defines it (Zbontar et al. 2018, arXiv:1811.08839)."""

import math

import torch

from recon_core.errors import InputError

SSIM_WINDOW = 7
SSIM_K1, SSIM_K2 = 0.01, 0.03


def nmse(image: torch.Tensor, reference: torch.Tensor) -> float:
    """Normalised mean squared error ‖image − reference‖² / ‖reference‖².

    Of arrays of one shape, taken as they are: complex arrays are compared with their phase, so pass
    magnitudes where phase does not count.

    Raises:
        InputError: shapes differ, only one of the two is complex, or the reference is zero.
    """
    _require_comparable("nmse", image, reference)
    wide = torch.promote_types(reference.dtype, torch.float64)
    energy = _energy(reference.to(wide))
    if energy == 0:
        raise InputError(
            "nmse: expected a reference with signal, got all zeros; check which image is the reference"
        )
    return _energy(image.to(wide) - reference.to(wide)) / energy


def nrmse(image: torch.Tensor, reference: torch.Tensor) -> float:
    """Normalised root mean squared error ‖image − reference‖ / ‖reference‖, the root of `nmse`."""
    return math.sqrt(nmse(image, reference))


def psnr(image: torch.Tensor, reference: torch.Tensor) -> float:
    """Peak signal-to-noise ratio in dB, 10 log₁₀(max(reference)² / mean((image − reference)²)).

    Complex arrays are compared by magnitude. The peak is that of the whole reference volume.

    Raises:
        InputError: shapes differ, or the reference has no positive value.
    """
    image, reference, data_range = _magnitudes("psnr", image, reference)
    mean_square = (image - reference).square().mean()
    return float(10 * torch.log10(data_range.square() / mean_square))


def ssim(image: torch.Tensor, reference: torch.Tensor) -> float:
    """Structural similarity of 2-D slices, averaged over slices and over all whole windows.

    Wang et al. 2004, doi:10.1109/TIP.2003.819861, with a 7×7 uniform window, sample (n − 1) covariance,
    K₁ = 0.01, K₂ = 0.03, and the data range the maximum of the whole reference volume.

    Args:
        image: (*slices, y, x), real, or complex and then compared by magnitude.
        reference: the same shape.

    Raises:
        InputError: shapes differ, slices are smaller than the window, or the reference has no positive value.
    """
    image, reference, data_range = _magnitudes("ssim", image, reference)
    if image.ndim < 2 or min(image.shape[-2:]) < SSIM_WINDOW:
        raise InputError(f"ssim: expected slices of at least 7 x 7 pixels, got {tuple(image.shape)}")
    return float(ssim_map(image, reference, data_range).mean())


def ssim_map(image: torch.Tensor, reference: torch.Tensor, data_range: torch.Tensor) -> torch.Tensor:
    """Structural similarity at every whole window of `(*slices, y, x)` real images; see `ssim`.

    Differentiable. `data_range` broadcasts with the slices.
    """
    mean_i, mean_r = _window_mean(image), _window_mean(reference)
    to_sample = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    variance_i = to_sample * (_window_mean(image.square()) - mean_i.square())
    variance_r = to_sample * (_window_mean(reference.square()) - mean_r.square())
    covariance = to_sample * (_window_mean(image * reference) - mean_i * mean_r)

    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    luminance = (2 * mean_i * mean_r + c1) / (mean_i.square() + mean_r.square() + c1)
    structure = (2 * covariance + c2) / (variance_i + variance_r + c2)
    return luminance * structure


def _window_mean(image: torch.Tensor) -> torch.Tensor:
    flat = image.reshape(-1, 1, *image.shape[-2:])
    mean = torch.nn.functional.avg_pool2d(flat, SSIM_WINDOW, stride=1)
    return mean.reshape(*image.shape[:-2], *mean.shape[-2:])


def _energy(array: torch.Tensor) -> float:
    return float(array.abs().square().sum())


def _magnitudes(
    where: str, image: torch.Tensor, reference: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Both images, real in float64, and the reference's maximum."""
    image, reference = (a.abs() if a.is_complex() else a for a in (image, reference))
    _require_comparable(where, image, reference)
    # Variances are differences of squares, which float32 would lose in flat regions.
    image, reference = image.double(), reference.double()
    data_range = reference.max()
    if data_range <= 0:
        raise InputError(f"{where}: expected a reference with a positive maximum, got {float(data_range):g}")
    return image, reference, data_range


def _require_comparable(where: str, image: torch.Tensor, reference: torch.Tensor) -> None:
    if image.shape != reference.shape:
        raise InputError(
            f"{where}: expected an image of the reference's shape {tuple(reference.shape)}, "
            f"got {tuple(image.shape)}; crop or resize first"
        )
    if image.is_complex() != reference.is_complex():
        raise InputError(f"{where}: expected both arrays complex or both real; take magnitudes first")
