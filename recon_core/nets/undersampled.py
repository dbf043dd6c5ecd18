"""What every network reconstructs from, and what every network is."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

import torch

from recon_core import fourier
from recon_core.errors import InputError

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
    second_maps: torch.Tensor | None = None
    """`(slice, coil, y, x)`, a second set of maps where one does not explain the coils, as where a head
    larger than the field of view folds in; zero elsewhere. None where there is no such place."""
    spirit_kernel: torch.Tensor | None = None
    """`(slice, coil out, coil in, ky, kx)`, see `recon_core.coils.spirit_kernel`; for networks that ask."""
    noise_std: torch.Tensor | None = None
    """`(slice,)` standard deviation of the complex noise of a k-space sample, equal and uncorrelated over the
    coils; None when unknown."""
    guide: torch.Tensor | None = None
    """`(slice, y, x)` real or complex: an image of the same field of view in another contrast, of any matrix;
    zero for a slice that has none. For networks that ask."""

    def __len__(self) -> int:
        return len(self.kspace)

    @property
    def image_shape(self) -> torch.Size:
        """Of what a network makes of them."""
        return self.sampled.shape

    @property
    def device(self) -> torch.device:
        """That of the arrays."""
        return self.kspace.device

    @property
    def in_words(self) -> str:
        """Matrix and coils, for a log."""
        n_coils, n_y, n_x = self.kspace.shape[1:]
        return f"{n_y} x {n_x}, {n_coils} coils"

    def zero_filled(self) -> torch.Tensor:
        """`(slice, y, x)`: Sᴴ Fᴴ y."""
        coil_images = fourier.ifft(self.kspace, (-2, -1))
        if self.coil_maps is None:
            return coil_images.squeeze(1)
        return (self.coil_maps.conj() * coil_images).sum(1)

    def normalised(self) -> tuple[Self, torch.Tensor]:
        """The same slices at the intensity networks work at, and the `(slice,)` factors taken out of them.

        Each slice is divided by the `SCALE_QUANTILE` quantile of its zero-filled magnitude; an empty slice
        by one. So is a guide by its own, which nobody needs afterwards.
        """
        scale = _intensity(self.zero_filled())
        noise_std = None if self.noise_std is None else self.noise_std / scale
        guide = None if self.guide is None else self.guide / _intensity(self.guide)[:, None, None]
        kspace = self.kspace / scale[:, None, None, None]
        return replace(self, kspace=kspace, noise_std=noise_std, guide=guide), scale

    def to(self, device: torch.device) -> Self:
        """The same slices on another device."""
        present = ((f.name, getattr(self, f.name)) for f in fields(self))
        return replace(self, **{name: array.to(device) for name, array in present if array is not None})

    def require_fitting(self) -> None:
        """Raise an InputError where the arrays do not fit together."""
        kspace, maps, guide = self.kspace, self.coil_maps, self.guide
        fits = (
            kspace.ndim == 4
            and kspace.numel() > 0
            and self.sampled.shape == kspace[:, 0].shape
            and (kspace.shape[1] == 1 if maps is None else maps.shape == kspace.shape)
            and (self.noise_std is None or self.noise_std.shape == kspace.shape[:1])
            and (guide is None or (guide.ndim == 3 and len(guide) == len(kspace) and guide.numel() > 0))
        )
        if not fits:
            raise InputError(
                f"network: expected k-space (slice, coil, ky, kx), sampled (slice, ky, kx), coil maps as the "
                f"k-space unless there is one coil, noise_std (slice,) and a guide (slice, y, x) if any, got "
                f"{tuple(kspace.shape)}, {tuple(self.sampled.shape)}, "
                f"{None if maps is None else tuple(maps.shape)} and "
                f"{None if guide is None else tuple(guide.shape)}"
            )


def _intensity(image: torch.Tensor) -> torch.Tensor:
    """`(slice,)`: the quantile of each magnitude that becomes one, or one where it is zero."""
    magnitude = image.abs().flatten(1)
    rank = max(1, round(SCALE_QUANTILE * magnitude.shape[1]))
    scale = magnitude.kthvalue(rank, dim=1).values
    return torch.where(scale > 0, scale, 1)


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
