"""The multi-coil network we ship: wavelet SENSE, refined by small networks and data consistency in turn."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

import msgspec
import torch

from recon_core.fourier import fft
from recon_core.nets.architecture import Architecture, Count
from recon_core.nets.consistency import Measured, data_consistency
from recon_core.nets.features import channels_last, to_channels, to_image
from recon_core.nets.guide import guide_magnitudes
from recon_core.nets.multiscale import TwoScales
from recon_core.nets.switched import SwitchedNetwork
from recon_core.nets.undersampled import Undersampled
from recon_core.nets.wavelet_images import wavelet_images
from recon_core.noise_level import estimated_noise_std

LEAST_LEVEL, LARGEST_LEVEL = 1e-4, 1.0
"""Noise and residuals are taken to be between these, relative to the image."""
SOFTENING = 1e-6
"""Power, relative to the image's, that stands in for none."""


class Unrolled(Architecture, frozen=True):
    """Configuration of an `UnrolledNetwork`."""

    n_cascades: Count = 3
    widths: tuple[Count, Count] = (48, 80)
    """Features of each network on a half and on a quarter of the grid."""
    consistency_iterations: Count = 5
    """Of conjugate gradients, after each network but the last."""
    wavelet_iterations: Count = 50
    """Of `recon_core.sense.wavelet_sense`, where it begins; regularised by the noise level."""
    linear_iterations: Count = 12
    """Of the conjugate-gradient SENSE image that the networks see beside it."""
    share: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    """Of the refined image in the result; the rest is the wavelet image it began with. What the two get wrong
    is only partly alike, the more so in scans unlike those trained on. Training knows the refined image
    alone."""

    def build(self) -> torch.nn.Module:
        return UnrolledNetwork(self)


class UnrolledNetwork(SwitchedNetwork):
    """x ← argmin_x λ_k ‖A x − y‖² + ‖x − (x + C_k(x, x_cg, σ, r, R))‖², from x = wavelet SENSE.

    The image starts as good as compressed sensing makes it. Each network C_k (`TwoScales`) is shown it, the
    SENSE image x_cg, from which no regularisation has taken detail, and what is known of the scan as numbers:
    noise level σ, the root mean square r of what each of the two images leaves unexplained of the samples,
    and √R of the acceleration. So it can tell noise from structure: what many coils agree on is no noise of
    theirs. The weight is a power law of both levels, λ_k = e^{-a} σ^{-2b} r^{-2c}, learned. The last step
    keeps the measured samples of each coil (λ = ∞, as `data_consistency` defines it).

    Departs from MoDL (Aggarwal et al. 2019, doi:10.1109/TMI.2018.2865356) in where it starts, in what the
    networks see and in that they do not share weights. Nothing belongs to an anatomy. A guide makes a
    difference where there is a `recon_core.nets.guided_cascade.Guidance`.
    """

    def __init__(self, config: Unrolled, guidance: torch.nn.Module | None = None) -> None:
        super().__init__(())
        self.config = config
        self.guidance = guidance
        self.networks = torch.nn.ModuleList(
            TwoScales(n_in=4, n_known=4, n_out=2, widths=config.widths) for _ in range(config.n_cascades)
        )
        exponents = torch.tensor([[0.5, 0.25, 0.25]])
        self.weights = torch.nn.Parameter(exponents.repeat(config.n_cascades - 1, 1))
        channels_last(self)

    def forward(self, undersampled: Undersampled, anatomy: str | None = None) -> torch.Tensor:
        """`(slice, y, x)` complex images of normalised slices."""
        with torch.no_grad(), torch.autocast(undersampled.kspace.device.type, enabled=False):
            undersampled = _with_noise_level(undersampled)
            first, second = _first_and_second(
                wavelet_images(undersampled, n_iterations=self.config.wavelet_iterations)
            )
            undersampled = _without(second, undersampled)
            measured = Measured(undersampled)
            linear, levels = self._linear_images(undersampled, measured, first)
        image, beside = first, to_channels(linear)
        guide = None if undersampled.guide is None else guide_magnitudes(undersampled)
        for number, network in enumerate(self.networks):
            shown = torch.cat([to_channels(image), beside], dim=1)
            fusions = None
            if self.guidance is not None and guide is not None:
                fusions = self.guidance(number, image, guide)
            refined = image + to_image(network(shown, levels, fusions))
            weight = self._weight(number, levels)
            image = data_consistency(refined, measured, weight, self.config.consistency_iterations)
        if not self.training:
            image = torch.lerp(first, image, self.config.share)
        return image if second is None else image * _gain(image, second)

    def _linear_images(
        self, undersampled: Undersampled, measured: Measured, wavelet: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`(slice, y, x)` SENSE images, and `(slice, 4)` what is known: σ, r of both images, √R."""
        assert undersampled.noise_std is not None
        noise_std = undersampled.noise_std.clamp(LEAST_LEVEL, LARGEST_LEVEL)
        certainty = 1 / (noise_std.square() + 1e-3)
        linear = data_consistency(
            torch.zeros_like(wavelet),
            measured,
            certainty[:, None, None],
            self.config.linear_iterations,
        )
        residuals = [_residual(image, undersampled) for image in (wavelet, linear)]
        rate = undersampled.sampled.float().mean((1, 2)).rsqrt()
        in_decades = [
            torch.log10(level.clamp(LEAST_LEVEL, LARGEST_LEVEL)) + 2 for level in (noise_std, *residuals)
        ]
        return linear, torch.stack([*in_decades, rate - 1.5], dim=1)

    def _weight(self, number: int, levels: torch.Tensor) -> torch.Tensor | None:
        """`(slice, 1, 1)` λ, None after the last network."""
        if number == len(self.weights):
            return None
        offset, noise, residual = self.weights[number]
        decades = noise * (levels[:, 0] - 0.3) + residual * (levels[:, 1] - 0.3)
        return torch.exp(-offset - 4.6 * decades)[:, None, None]


def _with_noise_level(undersampled: Undersampled) -> Undersampled:
    if undersampled.noise_std is not None:
        return undersampled
    return replace(undersampled, noise_std=estimated_noise_std(undersampled.kspace, undersampled.sampled))


def _first_and_second(sets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
    """The images `(slice, y, x)` of `(slice, set, y, x)`, None for a set there is none of."""
    return sets[:, 0], sets[:, 1] if sets.shape[1] > 1 else None


def _without(second: torch.Tensor | None, undersampled: Undersampled) -> Undersampled:
    """The samples less what the image of the second set of maps explains of them."""
    if second is None or undersampled.second_maps is None:
        return undersampled
    explained = fft(undersampled.second_maps * second[:, None], (-2, -1)) * undersampled.sampled[:, None]
    return replace(undersampled, kspace=undersampled.kspace - explained)


def _gain(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """sqrt(1 + |x_2|² / |x_1|²), softly where both are small."""
    power = first.abs().square() + SOFTENING
    return torch.sqrt(1 + second.abs().square() / power)


def _residual(image: torch.Tensor, undersampled: Undersampled) -> torch.Tensor:
    """`(slice,)` root mean square of y − A x over samples and coils."""
    coil_images = image[:, None]
    if undersampled.coil_maps is not None:
        coil_images = undersampled.coil_maps * coil_images
    left = (undersampled.kspace - fft(coil_images, (-2, -1))) * undersampled.sampled[:, None]
    n_samples = left.shape[1] * undersampled.sampled.sum((1, 2)).clamp(min=1)
    residual: torch.Tensor = torch.linalg.vector_norm(left, dim=(1, 2, 3)) / n_samples.sqrt()
    return residual
