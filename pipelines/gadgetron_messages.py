"""Gadgetron's own messages (buckets, ReconData, image arrays), read as its core writes them.

Its arrays are column-major with the fastest axis named first; the same bytes are row-major with the axes
reversed, which is how they are given here.
"""

import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import ismrmrd
import ismrmrd.image
import ismrmrd.waveform
import numpy as np
import numpy.typing as npt

from gadgets.records import HEADER_DTYPE, Readouts
from recon_core.errors import StreamError

ARRAY_BYTES = 16 << 30
"""Of one array or one part of a bucket; memory is only taken as the bytes arrive."""
TEXT_BYTES = 1 << 20
"""Of the meta attributes of one image."""
MAX_AXES = 16

IMAGE_HEADER_DTYPE: np.dtype[np.void] = np.dtype(ismrmrd.image.ImageHeader)
_LIMIT_DTYPE = np.dtype([("minimum", "<u2"), ("center", "<u2"), ("maximum", "<u2")])
SAMPLING_DTYPE: np.dtype[np.void] = np.dtype(
    [
        ("encoded_fov_mm", "<f4", 3),
        ("recon_fov_mm", "<f4", 3),
        ("encoded_matrix", "<u2", 3),
        ("recon_matrix", "<u2", 3),
        ("limits", _LIMIT_DTYPE, 3),
    ],
    align=True,
)
_BUCKET_HEAD = struct.Struct("<13Q")
_WAVEFORM_DTYPE: np.dtype[np.void] = np.dtype(ismrmrd.waveform.WaveformHeader)


class Source(Protocol):
    """Where the bytes come from: a `MessageReader`."""

    def take(self, n_bytes: int, limit: int, what: str) -> memoryview:
        """The next `n_bytes`, or StreamError when there are not that many or they exceed `limit`."""


@dataclass(frozen=True, slots=True, eq=False)
class Bucket:
    """The readouts of one trigger event: reference lines that are not image lines too, then image lines."""

    readouts: tuple[Readouts, ...]
    waveforms: tuple[ismrmrd.Waveform, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Buffer:
    """Cartesian k-spaces, or their calibration."""

    data: npt.NDArray[np.complex64]
    """`(location, S, N, coil, kz, ky, kx)`."""
    headers: npt.NDArray[np.void]
    """`(location, S, N, kz, ky)` of `HEADER_DTYPE`, zero where no readout was put."""
    sampling: np.void
    """A `SAMPLING_DTYPE`."""
    has_trajectory: bool


@dataclass(frozen=True, slots=True, eq=False)
class ReconBit:
    """The buffer of one encoding space with its calibration."""

    data: Buffer
    reference: Buffer | None


@dataclass(frozen=True, slots=True, eq=False)
class ReconData:
    """What one reconstruction needs."""

    bits: tuple[ReconBit, ...]
    """One for each encoding space; its buffer may be empty."""


@dataclass(frozen=True, slots=True, eq=False)
class ImageArray:
    """Images on one grid."""

    data: npt.NDArray[np.complex64]
    """`(location, S, N, channel, z, y, x)`."""
    headers: npt.NDArray[np.void]
    """`(location, S, N)` of `IMAGE_HEADER_DTYPE`."""
    metas: tuple[str, ...]
    """MRD meta attributes of each image in the order of `headers`, as XML; may be empty altogether."""
    waveforms: tuple[ismrmrd.Waveform, ...]


def read_bucket(source: Source) -> Bucket:
    """Message 1050."""
    head = _BUCKET_HEAD.unpack(source.take(_BUCKET_HEAD.size, _BUCKET_HEAD.size, "a bucket"))
    n_data, n_reference, n_waveforms = head[0], head[4], head[10]
    data = tuple(_readouts(source, n_data))
    source.take(head[8], ARRAY_BYTES, "bucket statistics")
    reference = tuple(_readouts(source, n_reference))
    source.take(head[9], ARRAY_BYTES, "bucket statistics")
    both = "IS_PARALLEL_CALIBRATION_AND_IMAGING"
    only_reference = (block.select(~block.flagged(both)) for block in reference)
    return Bucket(
        readouts=(*(block for block in only_reference if len(block)), *data),
        waveforms=_bucket_waveforms(source, n_waveforms),
    )


def read_recon_data(source: Source) -> ReconData:
    """Message 1023."""
    bits = []
    for _ in range(_count(source, "ReconData")):
        data = _buffer(source)
        bits.append(ReconBit(data, _buffer(source) if _is_there(source) else None))
    return ReconData(tuple(bits))


def read_image_array(source: Source) -> ImageArray:
    """Message 1024."""
    data = _array(source, np.dtype(np.complex64), "an image array")
    headers = _array(source, IMAGE_HEADER_DTYPE, "image headers")
    metas = tuple(_text(source) for _ in range(_count(source, "image attributes")))
    waveforms = tuple(_waveforms(source)) if _is_there(source) else ()
    if _is_there(source):
        _array(source, HEADER_DTYPE, "acquisition headers")
    if data.ndim != 7 or headers.shape != data.shape[:3] or len(metas) not in (0, headers.size):
        raise StreamError(
            f"image array: expected 7 axes and one header for each image, got {data.shape}, "
            f"{headers.shape} headers and {len(metas)} attributes; send what Gadgetron's core writes"
        )
    return ImageArray(data, headers, metas, waveforms)


def _buffer(source: Source) -> Buffer:
    data = _array(source, np.dtype(np.complex64), "a data buffer")
    has_trajectory = _is_there(source)
    if has_trajectory:
        _array(source, np.dtype(np.float32), "a trajectory")
    if _is_there(source):
        _array(source, np.dtype(np.float32), "density weights")
    headers = _array(source, HEADER_DTYPE, "acquisition headers")
    sampling = source.take(SAMPLING_DTYPE.itemsize, SAMPLING_DTYPE.itemsize, "a sampling description")
    if data.size and (data.ndim != 7 or headers.shape != (*data.shape[:3], *data.shape[4:6])):
        raise StreamError(
            f"ReconData: expected 7 axes and one header for each readout, got {data.shape} and "
            f"{headers.shape} headers; send what Gadgetron's core writes"
        )
    return Buffer(data, headers, np.frombuffer(bytes(sampling), SAMPLING_DTYPE)[0], has_trajectory)


def _array(source: Source, dtype: np.dtype[Any], what: str) -> npt.NDArray[Any]:
    n_axes = _count(source, what)
    sizes = source.take(8 * n_axes, 8 * MAX_AXES, f"{what}'s axes")
    shape = tuple(int(size) for size in np.frombuffer(sizes, "<u8"))[::-1]
    n_elements = math.prod(shape) if shape else 0
    values = source.take(n_elements * dtype.itemsize, ARRAY_BYTES, what)
    array = np.frombuffer(bytearray(values), dtype)
    return array.reshape(shape) if shape else array


def _readouts(source: Source, count: int) -> Iterator[Readouts]:
    """Headers of all, then trajectories of all, then samples of all: blocks of equally shaped neighbours."""
    taken = source.take(count * HEADER_DTYPE.itemsize, ARRAY_BYTES, "a bucket's acquisition headers")
    headers = np.frombuffer(bytearray(taken), HEADER_DTYPE)
    fields = ("number_of_samples", "active_channels", "trajectory_dimensions")
    shapes = np.stack([headers[name] for name in fields], axis=1).astype(np.int64)
    cuts = np.flatnonzero(np.any(shapes[1:] != shapes[:-1], axis=1)) + 1
    blocks = [block for block in np.split(headers, cuts) if len(block)]
    sizes = [tuple(int(block[0][name]) for name in fields) for block in blocks]
    trajectories = []
    for block, (n_samples, _, n_dimensions) in zip(blocks, sizes, strict=True):
        taken = source.take(4 * len(block) * n_samples * n_dimensions, ARRAY_BYTES, "a bucket's trajectories")
        trajectory = np.frombuffer(bytearray(taken), np.float32)
        trajectories.append(trajectory.reshape(len(block), n_samples, n_dimensions))
    for block, (n_samples, n_coils, _), trajectory in zip(blocks, sizes, trajectories, strict=True):
        taken = source.take(8 * len(block) * n_samples * n_coils, ARRAY_BYTES, "a bucket's samples")
        data = np.frombuffer(bytearray(taken), np.complex64).reshape(len(block), n_coils, n_samples)
        yield Readouts(headers=block, data=data, trajectory=trajectory)


def _bucket_waveforms(source: Source, count: int) -> tuple[ismrmrd.Waveform, ...]:
    """Headers of all, then samples of all."""
    heads = [_waveform_head(source) for _ in range(count)]
    return tuple(_waveform(source, head) for head in heads)


def _waveforms(source: Source) -> Iterator[ismrmrd.Waveform]:
    for _ in range(_count(source, "waveforms")):
        yield _waveform(source, _waveform_head(source))


def _waveform_head(source: Source) -> bytes:
    return bytes(source.take(_WAVEFORM_DTYPE.itemsize, _WAVEFORM_DTYPE.itemsize, "a waveform"))


def _waveform(source: Source, head: bytes) -> ismrmrd.Waveform:
    header = np.frombuffer(head, _WAVEFORM_DTYPE)[0]
    n_bytes = 4 * int(header["channels"]) * int(header["number_of_samples"])
    return ismrmrd.Waveform.from_bytes(head + bytes(source.take(n_bytes, ARRAY_BYTES, "a waveform")))


def _text(source: Source) -> str:
    length = _count(source, "image attributes")
    text = bytes(source.take(length, TEXT_BYTES, "image attributes"))
    return text.rstrip(b"\0").decode(errors="replace")


def _count(source: Source, what: str) -> int:
    return int(struct.unpack("<Q", source.take(8, 8, what))[0])


def _is_there(source: Source) -> bool:
    return source.take(1, 1, "whether a part follows")[0] != 0
