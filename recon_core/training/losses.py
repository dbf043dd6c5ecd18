"""What training makes small."""

from collections.abc import Sequence

import msgspec
import torch

from recon_core.fourier import fft
from recon_core.metrics import ssim_map
from recon_core.nets.manet import Stage

LEAST_MSE = 1e-8
"""Of a slice whose 99 % quantile is one: errors below it count as none."""


class Loss(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Weights of the terms; x is the network's image, t the target, both normalised and complex."""

    mae: float = 0.0
    """Of mean |x − t|. Of complex numbers: a turn of the phase changes nothing."""
    mse: float = 0.0
    """Of mean |x − t|²."""
    log_mse: float = 0.0
    """Of the mean over slices of log₁₀ mean |x − t|²: a decibel is one in clean and in noisy slices."""
    dissimilarity: float = 0.0
    """Of 1 − SSIM of magnitudes, as `recon_core.metrics` defines it, with each slice's own peak."""
    weights: float = 0.0
    """Of Σ θ² over the parameters that are trained."""
    absolute_weights: float = 0.0
    """Of Σ |θ| over them."""
    attention: float = 0.0
    """Of `attention_transfer` from the stage's teachers."""
    hybrid: float = 0.0
    """Of `hybrid_loss`, of networks with stages in k-space and image."""
    alpha: float = 0.4
    """Of it."""
    beta: float = 0.6

    def __post_init__(self) -> None:
        if max(self.mae, self.mse, self.log_mse, self.dissimilarity, self.hybrid) <= 0:
            raise ValueError("loss: expected a weight of mae, mse, log_mse, dissimilarity, hybrid, got none")


def image_loss(loss: Loss, image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The terms that compare `(slice, y, x)` images."""
    difference = image - target
    # |z| has no gradient at zero, where a network without coils outside the object may be exact.
    power = difference.real.square() + difference.imag.square()
    value = loss.mae * (power + 1e-12).sqrt().mean() + loss.mse * power.mean()
    if loss.log_mse:
        value = value + loss.log_mse * (power.mean((-2, -1)) + LEAST_MSE).log10().mean()
    if loss.dissimilarity:
        value = value + loss.dissimilarity * (1 - _ssim(image, target))
    return value


def attention_transfer(student: Sequence[torch.Tensor], teacher: Sequence[torch.Tensor]) -> torch.Tensor:
    """L_AT = Σ_t ‖O_I/‖O_I‖₂ − O_U/‖O_U‖₂‖₁ with attention maps O = Σ_c |m_c|² of features m.

    Liu et al. 2021, arXiv:2103.05214, after Zagoruyko & Komodakis 2017, arXiv:1612.03928. Maps are those of
    single slices; the loss is their mean over the batch.

    Args:
        student: `(slice, feature, y, x)` of the universal network, one for each cascade.
        teacher: those of the network of one anatomy; no gradient flows into them.
    """
    losses = [
        (_attention(ours) - _attention(theirs.detach())).abs().sum(1).mean()
        for ours, theirs in zip(student, teacher, strict=True)
    ]
    return torch.stack(losses).sum()


def hybrid_loss(
    stages: Sequence[Stage], target: torch.Tensor, guide: torch.Tensor, alpha: float, beta: float
) -> torch.Tensor:
    """α [(1 − β) L_k^guide + β L_k^target] + (1 − α) [(1 − β) L_img^guide + β L_img^target], L the mean |·|.

    MANet (Feng et al. 2021, arXiv:2110.08080), equation 6; terms of stages and streams that a network lacks
    are left out. The authors' code weighs 0.9 and 0.1 where the text, followed here, has β = 0.6.

    Args:
        stages: what the network's stages gave.
        target: `(slice, y, x)` image, normalised.
        guide: `(slice, y, x)` magnitude, normalised, on the same grid.
        alpha: weight of k-space.
        beta: weight of the target.
    """
    value = target.real.new_zeros(())
    for stage in stages:
        weight = alpha if stage.domain == "kspace" else 1 - alpha
        for found, wanted, share in ((stage.target, target, beta), (stage.guide, guide, 1 - beta)):
            if found is not None:
                wanted = fft(wanted, (-2, -1)) if stage.domain == "kspace" else wanted
                value = value + weight * share * (found - wanted).abs().mean()
    return value


def _ssim(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean structural similarity of `(slice, y, x)` magnitudes, differentiable."""
    x, y = ((z.real.square() + z.imag.square() + 1e-12).sqrt() for z in (image, target))
    return ssim_map(x, y, y.amax((-2, -1), keepdim=True)).mean()


def _attention(features: torch.Tensor) -> torch.Tensor:
    attention = features.float().square().sum(1).flatten(1)
    return torch.nn.functional.normalize(attention, dim=1)
