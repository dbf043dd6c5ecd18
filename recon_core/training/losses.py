"""What training makes small."""

from collections.abc import Sequence

import msgspec
import torch

from recon_core.metrics import ssim_map

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
    attention: float = 0.0
    """Of `attention_transfer` from the stage's teachers."""

    def __post_init__(self) -> None:
        if max(self.mae, self.mse, self.log_mse, self.dissimilarity) <= 0:
            raise ValueError("loss: expected a weight of mae, mse, log_mse or dissimilarity, got none")


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


def _ssim(image: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean structural similarity of `(slice, y, x)` magnitudes, differentiable."""
    x, y = ((z.real.square() + z.imag.square() + 1e-12).sqrt() for z in (image, target))
    return ssim_map(x, y, y.amax((-2, -1), keepdim=True)).mean()


def _attention(features: torch.Tensor) -> torch.Tensor:
    attention = features.float().square().sum(1).flatten(1)
    return torch.nn.functional.normalize(attention, dim=1)
