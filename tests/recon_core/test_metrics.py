"""Metrics against direct sums and closed forms."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from recon_core.errors import InputError
from recon_core.metrics import nmse, nrmse, psnr, ssim


def images(*shape: int) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(3)
    reference = torch.rand(shape, generator=generator, dtype=torch.float64)
    return reference + 0.1 * torch.randn(shape, generator=generator, dtype=torch.float64), reference


def ssim_by_direct_sums(image: np.ndarray, reference: np.ndarray, data_range: float) -> float:
    """SSIM of one slice, window by window, from numpy's sample covariance matrix."""
    values = []
    for y in range(image.shape[0] - 6):
        for x in range(image.shape[1] - 6):
            a, b = image[y : y + 7, x : x + 7].ravel(), reference[y : y + 7, x : x + 7].ravel()
            (var_a, cov), (_, var_b) = np.cov(a, b, ddof=1)
            c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
            numerator = (2 * a.mean() * b.mean() + c1) * (2 * cov + c2)
            values.append(numerator / ((a.mean() ** 2 + b.mean() ** 2 + c1) * (var_a + var_b + c2)))
    return float(np.mean(values))


def test_ssim_equals_direct_sums_with_the_volume_maximum_as_range() -> None:
    image, reference = images(3, 11, 16)
    reference[1] *= 5
    expected = np.mean(
        [
            ssim_by_direct_sums(a.numpy(), b.numpy(), float(reference.max()))
            for a, b in zip(image, reference, strict=True)
        ]
    )
    assert ssim(image, reference) == pytest.approx(expected, abs=1e-12)


def test_nmse_and_psnr_equal_their_definitions() -> None:
    image, reference = images(2, 9, 10)
    a, b = image.numpy(), reference.numpy()
    assert nmse(image, reference) == pytest.approx(np.linalg.norm(a - b) ** 2 / np.linalg.norm(b) ** 2)
    assert nrmse(image, reference) ** 2 == pytest.approx(nmse(image, reference))
    assert psnr(image, reference) == pytest.approx(10 * np.log10(b.max() ** 2 / np.mean((a - b) ** 2)))


def test_constant_offset_has_closed_form_psnr_and_ssim() -> None:
    reference = torch.full((1, 8, 8), 2.0)
    image = reference + 0.5
    assert psnr(image, reference) == pytest.approx(20 * np.log10(2.0 / 0.5))
    c1 = (0.01 * 2.0) ** 2
    assert ssim(image, reference) == pytest.approx((2 * 2.5 * 2 + c1) / (2.5**2 + 4 + c1), abs=1e-9)


@given(st.floats(1e-3, 1e3))
def test_metrics_do_not_depend_on_the_scale_of_both_images(scale: float) -> None:
    image, reference = images(1, 8, 9)
    for metric in (nmse, nrmse, psnr, ssim):
        assert metric(scale * image, scale * reference) == pytest.approx(metric(image, reference), rel=1e-9)


def test_identical_images_are_perfect() -> None:
    _, reference = images(2, 8, 8)
    assert nmse(reference, reference) == 0
    assert psnr(reference, reference) == float("inf")
    assert ssim(reference, reference) == pytest.approx(1)


def test_phase_counts_in_nmse_but_not_in_psnr_and_ssim() -> None:
    image, reference = images(1, 8, 8)
    turned = reference * torch.exp(torch.tensor(1j * np.pi))
    assert nrmse(turned, reference.to(turned.dtype)) == pytest.approx(2)
    assert ssim(turned, reference) == pytest.approx(1)
    assert psnr(image.abs() * 1j, reference) == pytest.approx(psnr(image.abs(), reference))


def test_unusable_references_are_refused() -> None:
    image, reference = images(1, 8, 8)
    with pytest.raises(InputError, match="shape"):
        nmse(image[..., :4], reference)
    with pytest.raises(InputError, match="complex"):
        nmse(image.to(torch.complex64), reference)
    with pytest.raises(InputError, match="all zeros"):
        nrmse(image, torch.zeros_like(image))
    with pytest.raises(InputError, match="positive maximum"):
        psnr(image, torch.zeros_like(image))
    with pytest.raises(InputError, match="7 x 7"):
        ssim(image[..., :6], reference[..., :6])
