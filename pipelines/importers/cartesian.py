"""A Cartesian k-space array as a scan."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from ismrmrd import xsd

from gadgets.records import FLAG_BITS, HEADER_DTYPE, Readouts
from pipelines.sources import Scan
from recon_core.errors import InputError

# What an array does not say, nominally.
IN_PLANE_FOV_MM = 220.0
THICKNESS_MM = 5.0
DWELL_TIME_US = 5.0
RESONANCE_FREQUENCY_HZ = 127_740_000  # 3 T

COUNTER_AXES = ("repetition", "phase", "contrast", "set", "average", "slice")
_ENCODED_AXES = ("kz", "ky", "coil", "kx")

FovMm = tuple[float, float, float]


def cartesian_scan(
    kspace: npt.NDArray[Any],
    axes: str | Sequence[str],
    *,
    where: str,
    fov_mm: FovMm | None = None,
    header: Any = None,
) -> Scan:
    """A scan of the lines in `kspace` that are not zero; k = 0 lies at index n // 2 of each axis.

    `axes` names the axes in order, of ``kx`` (the readout), ``ky``, ``kz``, ``coil``, ``slice``,
    ``repetition``, ``contrast``, ``phase``, ``set`` and ``average``. `fov_mm` is `(x, y, z)`; where not
    given, 220 × 220 mm and 5 mm a slice or partition. Slices are stacked along z without gap. `header`, a
    parsed MRD header, supplies what the array cannot; its first encoding is made to fit.
    Raises InputError for axes that do not fit, and, when it is read, for an array without data.
    """
    names = axes.replace(",", " ").split() if isinstance(axes, str) else list(axes)
    lines = _in_order(kspace, names, where)
    sizes = dict(zip((*COUNTER_AXES, *_ENCODED_AXES), lines.shape, strict=True))
    if header is None:
        header = _nominal_header(sizes, fov_mm)
    _fit_header(header, sizes)
    thickness_mm = header.encoding[0].encodedSpace.fieldOfView_mm.z
    return Scan(header.toXML().encode(), lambda: _readouts(lines, thickness_mm, where))


def _in_order(kspace: npt.NDArray[Any], names: list[str], where: str) -> npt.NDArray[Any]:
    order = (*COUNTER_AXES, *_ENCODED_AXES)
    if sorted(names) != sorted(set(names) & set(order)) or len(names) != kspace.ndim or "kx" not in names:
        raise InputError(
            f"{where}: expected {kspace.ndim} different axis names for shape {kspace.shape}, kx among them, "
            f"of {', '.join(order)}, got {', '.join(names) or 'none'}; name the axes in order"
        )
    if not np.issubdtype(kspace.dtype, np.number) or max(kspace.shape) > np.iinfo(np.uint16).max:
        raise InputError(
            f"{where}: expected numbers, at most 65535 along each axis, got {kspace.dtype} of shape "
            f"{kspace.shape}; give k-space"
        )
    ordered = kspace.transpose([names.index(name) for name in order if name in names])
    return ordered[tuple(slice(None) if name in names else np.newaxis for name in order)]


def _nominal_header(sizes: dict[str, int], fov_mm: FovMm | None) -> Any:
    x, y, z = fov_mm or (IN_PLANE_FOV_MM, IN_PLANE_FOV_MM, THICKNESS_MM * sizes["kz"])
    spaces = [
        xsd.encodingSpaceType(
            matrixSize=xsd.matrixSizeType(x=sizes["kx"], y=sizes["ky"], z=sizes["kz"]),
            fieldOfView_mm=xsd.fieldOfViewMm(x=x, y=y, z=z),
        )
        for _ in range(2)
    ]
    encoding = xsd.encodingType(
        encodedSpace=spaces[0],
        reconSpace=spaces[1],
        encodingLimits=xsd.encodingLimitsType(),
        trajectory=xsd.trajectoryType.CARTESIAN,
    )
    conditions = xsd.experimentalConditionsType(H1resonanceFrequency_Hz=RESONANCE_FREQUENCY_HZ)
    return xsd.ismrmrdHeader(experimentalConditions=conditions, encoding=[encoding])


def _fit_header(header: Any, sizes: dict[str, int]) -> None:
    """Make the first encoding that of the array: a line's number is its index."""
    encoding = header.encoding[0]
    for axis, name in zip("xyz", ("kx", "ky", "kz"), strict=True):
        space = encoding.encodedSpace
        voxel_mm = getattr(space.fieldOfView_mm, axis) / getattr(space.matrixSize, axis)
        setattr(space.fieldOfView_mm, axis, voxel_mm * sizes[name])
        setattr(space.matrixSize, axis, sizes[name])
    limits = {name: xsd.limitType(maximum=sizes[name] - 1) for name in COUNTER_AXES}
    for number, name in ((1, "ky"), (2, "kz")):
        limits[f"kspace_encoding_step_{number}"] = xsd.limitType(
            maximum=sizes[name] - 1, center=sizes[name] // 2
        )
    encoding.encodingLimits = xsd.encodingLimitsType(**limits)
    encoding.trajectory = xsd.trajectoryType.CARTESIAN
    encoding.parallelImaging = None
    system = header.acquisitionSystemInformation or xsd.acquisitionSystemInformationType()
    system.receiverChannels = sizes["coil"]
    header.acquisitionSystemInformation = system


def _readouts(lines: npt.NDArray[Any], thickness_mm: float, where: str) -> Iterator[Readouts]:
    """One block for each image that has any sample."""
    counter_shape = lines.shape[: len(COUNTER_AXES)]
    n_written = 0
    for number, index in enumerate(np.ndindex(counter_shape)):
        image = lines[index]
        kz, ky = np.nonzero(image.any(axis=(2, 3)))
        if len(ky) == 0:
            continue
        data = np.ascontiguousarray(image[kz, ky], np.complex64)
        headers = _headers(data.shape, n_written)
        headers["idx"]["kspace_encode_step_1"], headers["idx"]["kspace_encode_step_2"] = ky, kz
        for name, counter in zip(COUNTER_AXES, index, strict=True):
            headers["idx"][name] = counter
        slice_, n_slices = index[-1], counter_shape[-1]
        headers["position"][:, 2] = (slice_ - (n_slices - 1) / 2) * thickness_mm
        headers["flags"][0] = FLAG_BITS["FIRST_IN_SLICE"]
        headers["flags"][-1] |= np.uint64(FLAG_BITS["LAST_IN_SLICE"])
        if slice_ == n_slices - 1:
            headers["flags"][-1] |= np.uint64(FLAG_BITS["LAST_IN_REPETITION"])
        if number == np.prod(counter_shape) - 1:
            headers["flags"][-1] |= np.uint64(FLAG_BITS["LAST_IN_MEASUREMENT"])
        n_written += len(data)
        yield Readouts(headers=headers, data=data, trajectory=np.empty((*data.shape[::2], 0), np.float32))
    if n_written == 0:
        raise InputError(f"{where}: expected k-space with samples, got zeros only; give the measured data")


def _headers(shape: tuple[int, ...], n_before: int) -> npt.NDArray[np.void]:
    n_readouts, n_coils, n_samples = shape
    headers = np.zeros(n_readouts, HEADER_DTYPE)
    headers["version"] = 1
    headers["scan_counter"] = n_before + np.arange(n_readouts)
    headers["number_of_samples"] = n_samples
    headers["available_channels"] = headers["active_channels"] = n_coils
    headers["center_sample"] = n_samples // 2
    headers["sample_time_us"] = DWELL_TIME_US
    headers["read_dir"], headers["phase_dir"], headers["slice_dir"] = np.eye(3)
    return headers
