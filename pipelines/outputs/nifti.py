"""Images as NIfTI volumes, placed where the patient was."""

import gzip
import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import numpy.typing as npt

from gadgets.image_geometry import geometry_of_image
from pipelines.outputs.writer import ImageWriter, pixels
from recon_core.image_geometry import ImageGeometry, is_same_place, stacked

_LOGGER = logging.getLogger("reconstream")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])  # MRD and DICOM count towards the patient's left and back


@dataclass(frozen=True)
class _Frame:
    """One image, and where it lies."""

    data: npt.NDArray[np.generic]
    """`(z, y, x)`."""
    geometry: ImageGeometry
    slice: int
    time: tuple[int, ...]
    """What tells images at one place apart: the other counters, type and channel."""


class NiftiWriter(ImageWriter):
    """``DIR/stem_N.nii.gz`` for series N, in RAS millimetres, `(x, y, z, time)`.

    2-D slices of one orientation and even spacing become one volume, ordered along the slice direction with
    their true distance; what cannot (a localiser's three planes, say) becomes ``stem_N_0``, ``stem_N_1``, …
    Repetitions, contrasts, phases, sets, averages and channels run along the fourth axis.
    """

    def __init__(self, directory: Path, stem: str, header_xml: bytes) -> None:
        super().__init__(directory, stem, header_xml)
        self._frames: dict[str, list[_Frame]] = {}

    def write(self, image: ismrmrd.Image) -> None:
        """Keep the image for `close`."""
        frames = self._frames.setdefault(self._series_name(image).removeprefix("image_"), [])
        frames += _frames(image)

    def _finish(self) -> None:
        for name, frames in self._frames.items():
            stacks = _stacks(frames)
            for number, stack in enumerate(stacks):
                ending = f"_{name}_{number}" if len(stacks) > 1 else f"_{name}"
                _save(self._temporary(f"{ending}.nii.gz"), *_volume(stack))


def _frames(image: ismrmrd.Image) -> list[_Frame]:
    time = (image.repetition, image.phase, image.contrast, image.set, image.average, image.image_type)
    return [
        _Frame(volume, geometry_of_image(image), image.slice, (*time, channel))
        for channel, volume in enumerate(pixels(image))
    ]


def _stacks(frames: list[_Frame]) -> list[list[_Frame]]:
    """The frames of each volume: those of one orientation if they are evenly spaced slices."""
    orientations: dict[bytes, list[_Frame]] = {}
    for frame in frames:
        orientation = (np.round(frame.geometry.directions, 4) + 0.0).tobytes()
        orientations.setdefault(orientation, []).append(frame)
    stacks = []
    for together in orientations.values():
        places = _places(together)
        if stacked(places):
            stacks.append(together)
        else:
            stacks += [[f for f in together if is_same_place(f.geometry, place)] for place in places]
    return stacks


def _places(frames: list[_Frame]) -> list[ImageGeometry]:
    """The different positions, ordered along the slice direction."""
    normal = np.array(frames[0].geometry.directions[2])
    places: list[ImageGeometry] = []
    for frame in sorted(frames, key=lambda f: float(normal @ f.geometry.centre_mm)):
        if not any(is_same_place(frame.geometry, place) for place in places):
            places.append(frame.geometry)
    return places


def _volume(frames: list[_Frame]) -> tuple[npt.NDArray[np.generic], npt.NDArray[np.float64]]:
    """`(x, y, z, time)` and its affine from voxel indices to LPS millimetres."""
    places = _places(frames)
    geometry = stacked(places) or places[0]
    slices = sorted({frame.slice for frame in frames})
    if len(places) > 1:
        index = [
            next(i for i, place in enumerate(places) if is_same_place(f.geometry, place)) for f in frames
        ]
    elif len(slices) > 1 and geometry.matrix[2] == 1:
        _LOGGER.warning("NIfTI: all slices claim the same position; stacked by number, one thickness apart")
        n_x, n_y, n_z = (*geometry.matrix[:2], len(slices))
        x_mm, y_mm, z_mm = geometry.fov_mm
        geometry = replace(geometry, matrix=(n_x, n_y, n_z), fov_mm=(x_mm, y_mm, n_z * z_mm))
        index = [slices.index(frame.slice) for frame in frames]
    else:
        index = [0] * len(frames)
    times, n_times = _times(frames, index)
    depth = frames[0].data.shape[0]
    volume = np.zeros((*geometry.matrix, n_times), frames[0].data.dtype)
    for frame, z, time in zip(frames, index, times, strict=True):
        volume[:, :, z * depth : (z + 1) * depth, time] = frame.data.T
    return volume[..., 0] if n_times == 1 else volume, geometry.affine.numpy()


def _times(frames: list[_Frame], index: list[int]) -> tuple[list[int], int]:
    """Where each frame lies along the fourth axis; images alike in all counters follow one another."""
    seen: dict[tuple[int, ...], int] = {}
    keys = []
    for frame, z in zip(frames, index, strict=True):
        place = (z, *frame.time)
        seen[place] = seen.get(place, -1) + 1
        keys.append((*frame.time, seen[place]))
    order = {key: number for number, key in enumerate(sorted(set(keys)))}
    return [order[key] for key in keys], len(order)


def _save(path: Path, volume: npt.NDArray[np.generic], affine_lps: npt.NDArray[np.float64]) -> None:
    import nibabel

    affine = affine_lps.copy()
    affine[:3] = _LPS_TO_RAS @ affine_lps[:3]
    nifti: Any = nibabel.Nifti1Image(volume, affine, dtype=volume.dtype)  # type: ignore[no-untyped-call]
    nifti.set_sform(affine, code="scanner")
    nifti.set_qform(affine, code="scanner")
    nifti.header.set_xyzt_units("mm", "sec")
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0) as file:
        nifti.to_stream(file)
