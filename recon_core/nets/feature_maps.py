"""What networks in a temporal feature space work on, and what each of them is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, Self

import torch

from recon_core.errors import InputError

Normal = Callable[[torch.Tensor], torch.Tensor]
"""EᴴE of one slice: `(L, 1, y, x)` to the same, as `recon_core.subspace.SubspaceOperator.normal` is."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FeatureMaps:
    """A batch of slices of one shape, projected back into the temporal feature space of their scan.

    The image series of a slice is A = U Φ with L feature maps U, its data are d = E(U).
    """

    maps: torch.Tensor
    """`(slice, L, y, x)` complex: the subspace backprojection U₀, density compensated."""
    adjoint: torch.Tensor | None = None
    """`(slice, L, y, x)` complex: Eᴴ d, without density compensation; for networks that ask."""
    normals: tuple[Normal, ...] | None = None
    """EᴴE of each slice; for networks that ask."""

    def __len__(self) -> int:
        return len(self.maps)

    @property
    def image_shape(self) -> torch.Size:
        """Of what a network makes of them."""
        return self.maps.shape

    @property
    def device(self) -> torch.device:
        """That of the arrays."""
        return self.maps.device

    @property
    def in_words(self) -> str:
        """Matrix and rank, for a log."""
        n_maps, n_y, n_x = self.maps.shape[1:]
        return f"{n_y} x {n_x}, {n_maps} feature maps"

    def normalised(self) -> tuple[Self, torch.Tensor]:
        """The same slices at the intensity networks work at, and the `(slice,)` factors taken out of them.

        Each slice is divided by the root mean square of the real and imaginary parts of its maps; an empty
        one by one.
        """
        scale = torch.view_as_real(self.maps.resolve_conj()).square().mean((1, 2, 3, 4)).sqrt()
        scale = torch.where(scale > 0, scale, 1)
        divisor = scale[:, None, None, None]
        adjoint = None if self.adjoint is None else self.adjoint / divisor
        return replace(self, maps=self.maps / divisor, adjoint=adjoint), scale

    def to(self, device: torch.device) -> Self:
        """The same slices on another device; the normal operators stay where they are."""
        adjoint = None if self.adjoint is None else self.adjoint.to(device)
        return replace(self, maps=self.maps.to(device), adjoint=adjoint)

    def require_fitting(self) -> None:
        """Raise an InputError where the arrays do not fit together."""
        fits = (
            self.maps.ndim == 4
            and self.maps.numel() > 0
            and self.maps.is_complex()
            and (self.adjoint is None or self.adjoint.shape == self.maps.shape)
            and (self.normals is None or len(self.normals) == len(self.maps))
        )
        if not fits:
            raise InputError(
                f"feature maps: expected complex maps (slice, L, y, x), an adjoint as these and a normal "
                f"operator a slice, or neither, got {tuple(self.maps.shape)}, "
                f"{None if self.adjoint is None else tuple(self.adjoint.shape)} and "
                f"{None if self.normals is None else len(self.normals)}"
            )


class FeatureNetwork(Protocol):
    """What the engine serves and training trains of feature maps: a `torch.nn.Module` with this call.

    It works on `FeatureMaps.normalised()` slices.
    """

    def __call__(self, feature_maps: FeatureMaps, anatomy: str | None = None) -> torch.Tensor:
        """`(slice, L, y, x)` complex: the feature maps U."""


def to_channels(maps: torch.Tensor) -> torch.Tensor:
    """Complex `(slice, L, y, x)` to real `(slice, 2 L, y, x)`: real and imaginary part of map after map."""
    return torch.view_as_real(maps.movedim(1, -1).contiguous()).flatten(-2).permute(0, 3, 1, 2)


def to_maps(channels: torch.Tensor) -> torch.Tensor:
    """Real `(slice, 2 L, y, x)` of any precision to complex `(slice, L, y, x)`."""
    if channels.dtype not in (torch.float32, torch.float64):
        channels = channels.float()
    n_slices, n_channels, n_y, n_x = channels.shape
    pairs = channels.permute(0, 2, 3, 1).reshape(n_slices, n_y, n_x, n_channels // 2, 2)
    return torch.view_as_complex(pairs).movedim(-1, 1)


def instance_normalised(
    backbone: Callable[[torch.Tensor], torch.Tensor], maps: torch.Tensor, *, residual: bool = False
) -> torch.Tensor:
    """σ g((U − μ) / σ) + μ, or U + σ g((U − μ) / σ): mean and standard deviation of a slice's every channel.

    The dissertation normalises a slice's label by the label's own μ and σ, which nobody knows of a scan: here
    what goes in gives both.

    Args:
        backbone: g, of `(slice, 2 L, y, x)` channels.
        maps: U, `(slice, L, y, x)` complex.
        residual: whether g gives what is to be added to U.
    """
    channels = to_channels(maps)
    mean = channels.mean((1, 2, 3), keepdim=True)
    std = channels.std((1, 2, 3), keepdim=True).clamp(min=torch.finfo(channels.dtype).tiny)
    scaled = to_maps(backbone((channels - mean) / std)) * std
    return maps + scaled if residual else scaled + torch.complex(mean, mean)


def require_rank(architecture: str, maps: torch.Tensor, n_maps: int) -> None:
    """Raise an InputError for another number of maps than a network was built for."""
    if maps.shape[1] != n_maps:
        raise InputError(
            f"{architecture}: expected {n_maps} feature maps, got {maps.shape[1]}; "
            "estimate a temporal basis of that rank, or train a network for this one"
        )
