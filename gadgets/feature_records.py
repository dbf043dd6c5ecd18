"""What flows between gadgets of a temporal feature space: data projected into it, then feature maps."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Self

import ismrmrd
import numpy as np
import torch

from gadgets.encoding import Encoding
from gadgets.records import ImageSeries
from recon_core.dynamic.bloch import InversionRecovery
from recon_core.dynamic.low_rank_tensor import TensorBasis
from recon_core.errors import InputError
from recon_core.subspace import SubspaceNormal


@dataclass(frozen=True, kw_only=True)
class FlipAngles:
    """Spoiled echoes at several flip angles."""

    flip_angles_deg: torch.Tensor
    """`(frame,)` nominal."""
    tr_ms: float


@dataclass(frozen=True, kw_only=True)
class Recovery:
    """FLASH between inversions."""

    times_ms: torch.Tensor
    """`(frame,)` since the inversion."""
    sequence: InversionRecovery


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Frames:
    """The frames of an image series as columns of a temporal basis, which are made when asked for."""

    basis: TensorBasis
    counters: tuple[str, ...]
    """The MRD counter that each dimension of the basis is counted by in the images."""
    contrast: FlipAngles | Recovery | None = None
    """What the last dimension is, where it is one of contrast."""

    def indices(self, wanted: Sequence[int] | None, counter: str) -> torch.Tensor:
        """`(frame,)` of the frames wanted along a counter, all if None; negative ones count from the end.

        Raises InputError for a frame that there is not.
        """
        n = self.basis.shape[self.counters.index(counter)] if counter in self.counters else 1
        indices = torch.arange(n) if wanted is None else torch.tensor(wanted, dtype=torch.long)
        if not len(indices) or bool(((indices < -n) | (indices >= n)).any()):
            raise InputError(
                f"frames: expected {counter} from 0 to {n - 1}, got {list(wanted or ())}; ask for frames of "
                "this scan"
            )
        return indices % n


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FeatureSpace:
    """The data of one slice or volume in a temporal feature space: all that a solver has to know."""

    images: torch.Tensor
    """`(L, coil, z, y, x)`: F_NUᴴ W Ω*(d) Φᴴ, W the density compensation."""
    kernel: torch.Tensor
    """`(parity, z, y, x, L, L)`: the convolutions of F_NUᴴ W F_NU, of `recon_core.feature_kernel`."""
    coil_maps: torch.Tensor
    """`(coil, z, y, x)`."""
    frames: Frames
    header: np.void
    """The acquisition header (`HEADER_DTYPE`) of the first readout: geometry and counters."""
    encoding: Encoding
    notes: tuple[str, ...] = ()

    @property
    def right_hand_side(self) -> torch.Tensor:
        """`(L, z, y, x)`: EᴴW d."""
        combined: torch.Tensor = torch.linalg.vecdot(
            self.coil_maps.expand_as(self.images), self.images, dim=1
        )
        return combined

    @property
    def normal_op(self) -> SubspaceNormal:
        """EᴴWE."""
        return SubspaceNormal(self.kernel, self.coil_maps)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class FeatureSeries:
    """Feature maps with the temporal basis that makes frames of them."""

    maps: torch.Tensor
    """`(L, z, y, x)` complex."""
    frames: Frames
    header: np.void
    encoding: Encoding
    meta: dict[str, str | list[str]] = field(default_factory=dict)
    """MRD meta attributes to send with the images."""
    notes: tuple[str, ...] = ()

    def frame(self, place: Sequence[int]) -> torch.Tensor:
        """`(z, y, x)`: one frame, by its index along each dimension."""
        return self.frames.basis.frames(self.maps, *place)

    def image(self, data: torch.Tensor, place: Sequence[int] = (), **counters: int) -> ImageSeries:
        """An image `(z, y, x)` of the series, counted by its place among the frames and by `counters`."""
        header = self.header.copy()
        for name, value in (*zip(self.frames.counters, place, strict=False), *counters.items()):
            header["idx"][name] = value
        n_z, n_y, n_x = data.shape
        return ImageSeries(
            data=data[None],
            header=header,
            encoding=replace(
                self.encoding, recon_matrix=(n_x, n_y, n_z), recon_fov_mm=self.encoding.encoded_fov_mm
            ),
            image_type=ismrmrd.IMTYPE_COMPLEX if data.is_complex() else ismrmrd.IMTYPE_MAGNITUDE,
            meta=dict(self.meta),
            notes=self.notes,
        )

    def noted(self, *notes: str) -> Self:
        """With further notes."""
        return replace(self, notes=(*self.notes, *notes))
