"""Closed forms of the losses."""

import pytest
import torch

from recon_core.fourier import fft
from recon_core.metrics import ssim
from recon_core.nets.manet import Stage
from recon_core.training.losses import Loss, attention_transfer, hybrid_loss, image_loss

IMAGE = torch.tensor([[[3 + 4j, 0j]]])


def test_mae_is_the_mean_modulus_and_mse_its_square() -> None:
    zero = torch.zeros_like(IMAGE)
    assert float(image_loss(Loss(mae=1), IMAGE, zero)) == pytest.approx(2.5, rel=1e-5)
    assert float(image_loss(Loss(mse=2), IMAGE, zero)) == pytest.approx(25, rel=1e-5)


def test_equal_images_have_finite_gradients() -> None:
    image = IMAGE.clone().requires_grad_()
    image_loss(Loss(mae=1), image, IMAGE).backward()
    assert image.grad is not None
    assert bool(image.grad.isfinite().all())


def test_attention_of_disjoint_features_differs_by_the_sum_of_their_norms() -> None:
    """Maps (1, 0) and (0, 1): a 1-norm of 2, in each of two cascades."""
    here, there = torch.zeros(1, 3, 1, 2), torch.zeros(1, 3, 1, 2)
    here[..., 0], there[..., 1] = 5, -7
    assert float(attention_transfer([here, here], [there, there])) == pytest.approx(4)
    assert float(attention_transfer([here], [here * 3])) == pytest.approx(0)


def test_attention_sends_gradients_to_the_student_only() -> None:
    student, teacher = (torch.rand(2, 3, 4, 4, requires_grad=True) for _ in range(2))
    attention_transfer([student], [teacher]).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_the_hybrid_loss_is_the_four_terms_of_the_paper() -> None:
    generator = torch.Generator().manual_seed(0)
    target, k_target, k_guide, image, image_of_guide = torch.randn(
        5, 2, 8, 6, dtype=torch.complex64, generator=generator
    )
    guide = torch.rand(2, 8, 6, generator=generator)
    stages = [Stage("kspace", k_target, k_guide), Stage("image", image, image_of_guide)]

    def l1(found: torch.Tensor, wanted: torch.Tensor) -> float:
        return float((found - wanted).abs().mean())

    in_kspace = 0.4 * l1(k_guide, fft(guide, (-2, -1))) + 0.6 * l1(k_target, fft(target, (-2, -1)))
    in_image = 0.4 * l1(image_of_guide, guide) + 0.6 * l1(image, target)
    value = float(hybrid_loss(stages, target, guide, 0.4, 0.6))
    assert value == pytest.approx(0.4 * in_kspace + 0.6 * in_image)
    alone = hybrid_loss([Stage("image", image, None)], target, guide, 0.4, 0.6)
    assert float(alone) == pytest.approx(0.6 * 0.6 * l1(image, target))


def test_a_loss_without_an_image_term_is_refused() -> None:
    with pytest.raises(ValueError, match="weight of mae"):
        Loss(weights=1e-6)


def test_log_mse_falls_by_its_weight_where_the_error_falls_tenfold_in_power() -> None:
    target = torch.randn(2, 16, 16, dtype=torch.complex64)
    error = torch.randn(2, 16, 16, dtype=torch.complex64)
    far, near = (
        image_loss(Loss(log_mse=2.0), target + size * error, target) for size in (10**0.5 * 0.1, 0.1)
    )
    assert float(far - near) == pytest.approx(2.0, abs=1e-3)


def test_dissimilarity_is_one_minus_the_mean_ssim_of_slices() -> None:
    generator = torch.Generator().manual_seed(3)
    target = torch.randn(2, 24, 24, dtype=torch.complex64, generator=generator)
    image = target + 0.3 * torch.randn(2, 24, 24, dtype=torch.complex64, generator=generator)
    expected = 1 - (ssim(image[:1], target[:1]) + ssim(image[1:], target[1:])) / 2
    assert float(image_loss(Loss(dissimilarity=1.0), image, target)) == pytest.approx(expected, abs=1e-4)
