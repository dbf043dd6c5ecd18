"""What a network is given of a k-space: 2-D slices along an axis that is fully sampled."""

from collections.abc import Iterable, Sequence

import torch

from gadgets.calibration import calibration_of
from gadgets.reconstructed import outline
from gadgets.records import CalibratedKSpace, KSpace
from gadgets.sampling_pattern import line_range
from recon_core.coils.spirit_kernel import spirit_kernel
from recon_core.errors import InputError
from recon_core.fourier import ifft, resize
from recon_core.nets.undersampled import Undersampled
from recon_core.noise_level import estimated_noise_std

_AXES = {-3: "kz", -2: "ky", -1: "kx"}
_CALIBRATION_WIDTH = 24
"""Samples of the centre along each axis that SPIRiT kernels are fitted to, as in training."""
_FEWEST_CALIBRATION = 11
"""Lines across, of several coils: networks are trained with maps of kernels that need as many."""
_MARGIN = 7
"""Samples that may be empty at an edge of k-space: what one kernel spans."""


def sliced_axis(kspace: KSpace) -> int:
    """The axis, of (kz, ky, kx), along which the k-space falls apart into slices: kz of slices and of volumes
    with the same lines in every partition, else kx.

    Raises InputError where neither is fully sampled, and where an edge of k-space lies empty: partial
    Fourier and interpolation are none of what networks are trained on.
    """
    sampled = kspace.sampled
    for axis in (-3, -1):
        if bool((sampled == sampled.select(axis, 0).unsqueeze(axis)).all()):
            _require_edges(kspace, axis)
            return axis
    raise InputError(
        f"network: expected kz or kx to be fully sampled, got neither in a volume of "
        f"{tuple(sampled.shape)} (kz, ky, kx)"
    )


def slices_of(kspace: CalibratedKSpace, axis: int) -> Undersampled:
    """The slices along `axis`. A single coil with a map of ones counts as one without a map.

    Raises InputError for more than two sets of maps, and for maps of too few calibration lines.
    """
    if len(kspace.coil_maps) > 2:
        raise InputError(f"network: expected one or two sets of coil maps, got {len(kspace.coil_maps)}")
    is_uniform = len(kspace.data) == 1 and bool((kspace.coil_maps == 1).all())
    if not is_uniform:
        _require_calibration(kspace)
    data = ifft(kspace.data, (axis,)).movedim(axis, 0).contiguous()
    sampled = kspace.sampled.select(axis, 0).expand(len(data), -1, -1)
    sets = [maps.movedim(axis, 0).contiguous() for maps in kspace.coil_maps]
    calibration = None if kspace.calibration is None else _calibration_slices(kspace, axis)
    return Undersampled(
        kspace=data,
        sampled=sampled,
        coil_maps=None if is_uniform else sets[0],
        second_maps=sets[1] if len(sets) > 1 and bool(sets[1].any()) else None,
        noise_std=estimated_noise_std(data, sampled, calibration),
    )


def spirit_kernels(kspace: KSpace, axis: int, which: Sequence[int], width: int) -> torch.Tensor:
    """`(slice, coil out, coil in, ky, kx)`: a kernel for some slices along `axis`, from the calibration data.

    Raises CalibrationError for too few of them.
    """
    slices = _calibration_slices(kspace, axis)
    centre = resize(slices, [min(length, _CALIBRATION_WIDTH) for length in slices.shape[-2:]])
    # One at a time: what is solved for a kernel is a hundred times its size.
    return torch.stack([spirit_kernel(centre[i], width) for i in which])


def _calibration_slices(kspace: KSpace, axis: int) -> torch.Tensor:
    """`(slice, coil, ky, kx)` of the calibration data, as many along `axis` as of the k-space."""
    calibration = calibration_of(kspace)
    shape = list(calibration.shape[1:])
    shape[axis] = kspace.data.shape[axis]
    return ifft(resize(calibration, shape), (axis,)).movedim(axis, 0)


def _require_calibration(kspace: KSpace) -> None:
    for length, n in zip(calibration_of(kspace).shape[1:], kspace.sampled.shape, strict=True):
        if length < min(_FEWEST_CALIBRATION, n):
            raise InputError(
                f"network: expected at least {_FEWEST_CALIBRATION} calibration lines, got {length}; "
                "acquire more"
            )


def _require_edges(kspace: KSpace, sliced: int) -> None:
    for axis, start, stop in _acquired(kspace):
        length = kspace.sampled.shape[axis]
        margin = max(start, length - stop)
        if axis != sliced and margin > _MARGIN:
            raise InputError(
                f"network: expected k-space acquired to its edges, got {margin} of {length} samples empty at "
                f"one end of {_AXES[axis]}"
            )


def _acquired(kspace: KSpace) -> Iterable[tuple[int, int, int]]:
    """Axis, start and stop; of lines what the header allows, since sparse patterns leave edges empty too."""
    n_z, n_y, _ = kspace.sampled.shape
    along_x = outline(kspace.sampled)[-1]
    yield -3, *line_range(kspace.encoding, "kspace_encode_step_2", n_z)
    yield -2, *line_range(kspace.encoding, "kspace_encode_step_1", n_y)
    yield -1, along_x.start, along_x.stop
