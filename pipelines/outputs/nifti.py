"""Images as NIfTI volumes, placed where the patient was."""

import gzip
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import numpy.typing as npt

from pipelines.outputs.writer import ImageWriter, pixels

Vector = npt.NDArray[np.float64]

_LOGGER = logging.getLogger("reconstream")
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0])  # MRD and DICOM count towards the patient's left and back
_SAME_PLACE_MM = 1e-3


@dataclass(frozen=True)
class _Frame:
    """One image, and where it lies (LPS, mm)."""

    data: npt.NDArray[np.generic]
    """`(z, y, x)`."""
    position: Vector
    """Of the voxel n // 2 along each axis, which the centred FFT puts at the centre of the field of view."""
    axes: Vector
    """`(3, 3)`: the unit vectors of x, y and z in columns."""
    voxel_mm: Vector
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
    shape_xyz = image.data.shape[:0:-1]
    axes = np.stack([_vector(image.read_dir), _vector(image.phase_dir), _vector(image.slice_dir)], axis=1)
    lengths = np.linalg.norm(axes, axis=0)
    axes = axes / lengths if (lengths > 0).all() else np.eye(3)
    fov_mm = _vector(image.field_of_view)
    voxel_mm = np.where(fov_mm > 0, fov_mm / shape_xyz, 1.0)
    time = (image.repetition, image.phase, image.contrast, image.set, image.average, image.image_type)
    return [
        _Frame(volume, _vector(image.position), axes, voxel_mm, image.slice, (*time, channel))
        for channel, volume in enumerate(pixels(image))
    ]


def _vector(values: Any) -> Vector:
    return np.array(values[:], np.float64)


def _stacks(frames: list[_Frame]) -> list[list[_Frame]]:
    """The frames of each volume: those of one orientation if they are evenly spaced slices."""
    orientations: dict[bytes, list[_Frame]] = {}
    for frame in frames:
        orientations.setdefault((np.round(frame.axes, 4) + 0.0).tobytes(), []).append(frame)
    stacks = []
    for together in orientations.values():
        places = _places(together)
        if len(places) == 1 or (together[0].data.shape[0] == 1 and _are_even(places)):
            stacks.append(together)
        else:
            stacks += [[f for f in together if _is_at(f, place)] for place in places]
    return stacks


def _is_at(frame: _Frame, place: Vector) -> bool:
    return bool(np.linalg.norm(frame.position - place) < _SAME_PLACE_MM)


def _places(frames: list[_Frame]) -> list[Vector]:
    """The different positions, ordered along the slice direction."""
    normal = frames[0].axes[:, 2]
    places: list[Vector] = []
    for frame in sorted(frames, key=lambda f: float(f.position @ normal)):
        if not any(_is_at(frame, place) for place in places):
            places.append(frame.position)
    return places


def _are_even(places: list[Vector]) -> bool:
    steps = np.diff(places, axis=0)
    return bool(np.allclose(steps, steps.mean(axis=0), atol=0.01 * np.linalg.norm(steps[0])))


def _volume(frames: list[_Frame]) -> tuple[npt.NDArray[np.generic], Vector]:
    """`(x, y, z, time)` and its affine from voxel indices to LPS millimetres."""
    first = frames[0]
    places = _places(frames)
    step = first.axes[:, 2] * first.voxel_mm[2]
    slices = sorted({frame.slice for frame in frames})
    origin = places[0]
    if len(places) > 1:
        step = (places[-1] - places[0]) / (len(places) - 1)
        index = [next(i for i, place in enumerate(places) if _is_at(f, place)) for f in frames]
    elif len(slices) > 1 and first.data.shape[0] == 1:
        _LOGGER.warning("NIfTI: all slices claim the same position; stacked by number, one thickness apart")
        origin = origin - step * (len(slices) // 2)
        index = [slices.index(frame.slice) for frame in frames]
    else:
        index = [0] * len(frames)
    times, n_times = _times(frames, index)
    depth, height, width = first.data.shape
    volume = np.zeros((width, height, depth * (max(index) + 1), n_times), first.data.dtype)
    for frame, z, time in zip(frames, index, times, strict=True):
        volume[:, :, z * depth : (z + 1) * depth, time] = frame.data.T
    columns = np.stack([*(first.axes[:, :2] * first.voxel_mm[:2]).T, step], axis=1)
    affine = np.eye(4)
    affine[:3, :3] = columns
    affine[:3, 3] = origin - columns @ [width // 2, height // 2, depth // 2]
    return volume[..., 0] if n_times == 1 else volume, affine


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


def _save(path: Path, volume: npt.NDArray[np.generic], affine_lps: Vector) -> None:
    import nibabel

    affine = affine_lps.copy()
    affine[:3] = _LPS_TO_RAS @ affine_lps[:3]
    nifti: Any = nibabel.Nifti1Image(volume, affine, dtype=volume.dtype)  # type: ignore[no-untyped-call]
    nifti.set_sform(affine, code="scanner")
    nifti.set_qform(affine, code="scanner")
    nifti.header.set_xyzt_units("mm", "sec")
    with path.open("wb") as raw, gzip.GzipFile(fileobj=raw, mode="wb", compresslevel=1, mtime=0) as file:
        nifti.to_stream(file)
