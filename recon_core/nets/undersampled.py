"""What every network reconstructs from, and what every network is."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

import torch

from recon_core import fourier

SCALE_QUANTILE = 0.99
"""The zero-filled magnitude image has this quantile at one after `Undersampled.normalised`."""
INTENSITY_SCALING = "zero-filled-p99"
"""What a model package calls that scaling."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Undersampled:
    """A batch of undersampled 2-D slices of one shape, and what is known of their coils and noise."""

    kspace: torch.Tensor
    """`(slice, coil, ky, kx)` complex, zero where not sampled."""
    sampled: torch.Tensor
    """`(slice, ky, kx)` boolean."""
    coil_maps: torch.Tensor | None = None
    """`(slice, coil, y, x)`, root sum of squares one inside the object; None for a single uniform coil."""
    spirit_kernel: torch.Tensor | None = None
    """`(slice, coil out, coil in, ky, kx)`, see `recon_core.coils.spirit_kernel`; for networks that ask."""
    noise_std: torch.Tensor | None = None
    """`(slice,)` standard deviation of the complex noise of a k-space sample, equal and uncorrelated over the
    coils; None when unknown."""

    def __len__(self) -> int:
        return len(self.kspace)

    def zero_filled(self) -> torch.Tensor:
        """`(slice, y, x)`: Sᴴ Fᴴ y."""
        coil_images = fourier.ifft(self.kspace, (-2, -1))
        if self.coil_maps is None:
            return coil_images.squeeze(1)
        return (self.coil_maps.conj() * coil_images).sum(1)

    def normalised(self) -> tuple[Self, torch.Tensor]:
        """The same slices at the intensity networks work at, and the `(slice,)` factors taken out of them.

        Each slice is divided by the `SCALE_QUANTILE` quantile of its zero-filled magnitude; an empty slice
        by one.
        """
        magnitude = self.zero_filled().abs().flatten(1)
        rank = max(1, round(SCALE_QUANTILE * magnitude.shape[1]))
        scale = magnitude.kthvalue(rank, dim=1).values
        scale = torch.where(scale > 0, scale, 1)
        noise_std = None if self.noise_std is None else self.noise_std / scale
        return replace(self, kspace=self.kspace / scale[:, None, None, None], noise_std=noise_std), scale

    def to(self, device: torch.device) -> Self:
        """The same slices on another device."""
        present = ((f.name, getattr(self, f.name)) for f in fields(self))
        return replace(self, **{name: array.to(device) for name, array in present if array is not None})


class Network(Protocol):
    """What the engine serves and training trains: a `torch.nn.Module` with this call.

    It works on `Undersampled.normalised()` slices; `reconstruct` takes care of that.
    """

    def __call__(self, undersampled: Undersampled, anatomy: str | None = None) -> torch.Tensor:
        """`(slice, y, x)` complex images. `anatomy` is for networks with parameters of single anatomies."""


def reconstruct(network: Network, undersampled: Undersampled, anatomy: str | None = None) -> torch.Tensor:
    """`(slice, y, x)` complex images at the intensity of the k-space that came in."""
    normalised, scale = undersampled.normalised()
    return network(normalised, anatomy) * scale[:, None, None]
