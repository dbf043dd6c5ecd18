"""What flows between gadgets: readouts, then k-space, then images. Each record names its axes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Self

import ismrmrd
import numpy as np
import numpy.typing as npt
import torch

from gadgets.encoding import Encoding
from recon_core.non_cartesian_sense import NonCartesianSampling

HEADER_DTYPE: np.dtype[np.void] = np.dtype(ismrmrd.AcquisitionHeader)
"""The 340 bytes of an MRD acquisition header, as a structured array element."""

FLAG_BITS: dict[str, int] = {
    name.removeprefix("ACQ_"): 1 << (number - 1)
    for name, number in vars(ismrmrd).items()
    if name.startswith("ACQ_") and isinstance(number, int)
}
"""Acquisition flags as bit masks, by their MRD names without the prefix: ``FLAG_BITS["LAST_IN_SLICE"]``."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Readouts:
    """Consecutive readouts of one shape. Where a stream is cut into such blocks carries no meaning."""

    headers: npt.NDArray[np.void]
    """`(readout,)` of `HEADER_DTYPE`."""
    data: npt.NDArray[np.complex64]
    """`(readout, coil, sample)`."""
    trajectory: npt.NDArray[np.float32]
    """`(readout, sample, dimension)` in cycles per field of view; no dimensions when Cartesian."""
    coil_matrix: torch.Tensor | None = None
    """`(virtual coil, coil)` still to be applied to the coil axis: noise whitening.

    It is applied once to each finished k-space, in one product of fixed shape, not to each readout: that
    keeps ingest at the speed of the wire and a replay equal to the inline run bit for bit.
    """
    notes: tuple[str, ...] = ()
    """What the user must be told about these readouts; ends up in the meta of every image made of them."""

    def __len__(self) -> int:
        return len(self.headers)

    def select(self, which: npt.NDArray[Any] | slice) -> Self:
        """The readouts that a boolean mask, an index array or a slice picks, in order."""
        return replace(
            self, headers=self.headers[which], data=self.data[which], trajectory=self.trajectory[which]
        )

    def flagged(self, *names: str) -> npt.NDArray[np.bool_]:
        """`(readout,)`: which readouts carry at least one of the named flags."""
        bits = np.uint64(sum(FLAG_BITS[name] for name in names))
        flagged: npt.NDArray[np.bool_] = (self.headers["flags"] & bits) != 0
        return flagged

    @classmethod
    def from_acquisitions(cls, acquisitions: Iterable[ismrmrd.Acquisition]) -> Iterator[Self]:
        """Blocks of equally shaped neighbours, in order."""
        block: list[ismrmrd.Acquisition] = []
        for acquisition in acquisitions:
            if block and _shape(block[0]) != _shape(acquisition):
                yield cls._stacked(block)
                block = []
            block.append(acquisition)
        if block:
            yield cls._stacked(block)

    @classmethod
    def _stacked(cls, block: list[ismrmrd.Acquisition]) -> Self:
        return cls(
            headers=np.frombuffer(b"".join(bytes(a.getHead()) for a in block), HEADER_DTYPE),
            data=np.stack([a.data for a in block]),
            trajectory=np.stack([a.traj for a in block]),
        )

    def acquisitions(self) -> Iterator[ismrmrd.Acquisition]:
        """The same readouts one by one in the ecosystem's own type, with the coil matrix applied."""
        data = self.data
        if self.coil_matrix is not None:
            data = (self.coil_matrix.cpu() @ torch.from_numpy(data)).numpy()
        for header, samples, trajectory in zip(self.headers, data, self.trajectory, strict=True):
            head = ismrmrd.AcquisitionHeader.from_buffer_copy(header.tobytes())
            head.active_channels = samples.shape[0]
            yield ismrmrd.Acquisition(head, samples, trajectory)


def _shape(acquisition: ismrmrd.Acquisition) -> tuple[int, int, int]:
    return acquisition.active_channels, acquisition.number_of_samples, acquisition.trajectory_dimensions


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class KSpace:
    """The sampled k-space of one image: one slice or volume of one contrast, phase, repetition and set."""

    data: torch.Tensor
    """`(coil, kz, ky, kx)` on the encoded grid, k = 0 at index n // 2, zero where not sampled."""
    sampled: torch.Tensor
    """`(kz, ky, kx)` boolean."""
    header: np.void
    """The acquisition header (`HEADER_DTYPE`) of the readout nearest to the centre: geometry and counters."""
    encoding: Encoding
    """Matrix sizes and fields of view; `encoding.encoded_matrix` always agrees with `data`."""
    calibration: torch.Tensor | None = None
    """`(coil, kz, ky, kx)` fully sampled centre acquired for calibration; None when only `data` can serve."""
    notes: tuple[str, ...] = ()
    """What the user must be told; ends up in the meta of the image."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(z, y, x)` of the image."""
        n_z, n_y, n_x = self.data.shape[1:]
        return n_z, n_y, n_x

    @property
    def sampling(self) -> torch.Tensor:
        """What `recon_core.sense` is to know of the sampling."""
        return self.sampled

    def to(self, device: torch.device) -> Self:
        """The same k-space on another device."""
        calibration = None if self.calibration is None else self.calibration.to(device)
        return replace(
            self, data=self.data.to(device), sampled=self.sampled.to(device), calibration=calibration
        )


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CalibratedKSpace(KSpace):
    """A k-space with the coil sensitivities that belong to it."""

    coil_maps: torch.Tensor
    """`(map set, coil, z, y, x)` on the grid of `data`."""


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class NonCartesianKSpace:
    """The samples of one image that lie off the grid."""

    data: torch.Tensor
    """`(coil, readout, sample)`."""
    trajectory: torch.Tensor
    """`(readout, sample, 2 or 3)`: (kx, ky[, kz]) in cycles per encoded field of view."""
    headers: npt.NDArray[np.void]
    """`(readout,)` of `HEADER_DTYPE`: what else tells the readouts of one image apart."""
    header: np.void
    """The acquisition header of the first readout: geometry and counters."""
    encoding: Encoding
    """The encoded matrix and field of view are those of the image to be made, whatever the readouts' were."""
    weights: torch.Tensor | None = None
    """`(readout, sample)`: the area or volume of k-space that each sample stands for, once known."""
    notes: tuple[str, ...] = ()
    """What the user must be told; ends up in the meta of the image."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """`(z, y, x)` of the image."""
        n_x, n_y, n_z = self.encoding.encoded_matrix
        return n_z, n_y, n_x

    @property
    def sampling(self) -> NonCartesianSampling:
        """What `recon_core.sense` is to know of the sampling."""
        return NonCartesianSampling(trajectory=self.trajectory, weights=self.weights)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class CalibratedNonCartesianKSpace(NonCartesianKSpace):
    """Samples off the grid with the coil sensitivities that belong to them."""

    coil_maps: torch.Tensor
    """`(map set, coil, z, y, x)`."""


AnyKSpace = KSpace | NonCartesianKSpace
AnyCalibratedKSpace = CalibratedKSpace | CalibratedNonCartesianKSpace


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class ImageSeries:
    """Images of one geometry on their way out."""

    data: torch.Tensor
    """`(channel, z, y, x)`, complex or real; a channel is what MRD calls one: a coil, or a map set."""
    header: np.void
    """The acquisition header (`HEADER_DTYPE`) the geometry and counters are taken from."""
    encoding: Encoding
    """`encoding.recon_fov_mm` is always the field of view of `data`."""
    image_type: int = ismrmrd.IMTYPE_COMPLEX
    """MRD's number for magnitude, phase, real, imaginary or complex."""
    acquired: tuple[slice, slice, slice] | None = None
    """The runs of k-space along `(kz, ky, kx)`, on the grid of `data`, that were acquired or calculated from
    acquired neighbours; None once that is of no more use."""
    series_index: int = 0
    series_name: str = ""
    meta: dict[str, str | list[str]] = field(default_factory=dict)
    """MRD meta attributes to send with the images."""
    notes: tuple[str, ...] = ()
