"""Which lines a scan has, from the headers of its readouts."""

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gadgets.encoding import COUNTERS, Encoding
from gadgets.images_in_progress import NOT_FOR_IMAGES
from gadgets.records import FLAG_BITS
from gadgets.sampling_pattern import missing_lines
from pipelines.inspection.records import CounterRange, EncodingSpace, Sampling
from recon_core.calibration import calibration_block
from recon_core.lattice import regular_acceleration

_IMAGE_COUNTERS = ("slice", "contrast", "phase", "repetition", "set")
_CALIBRATING = np.uint64(
    FLAG_BITS["IS_PARALLEL_CALIBRATION"] | FLAG_BITS["IS_PARALLEL_CALIBRATION_AND_IMAGING"]
)
_MAX_LINES = 1 << 24
"""Of an encoded matrix, beyond which no mask is made: a header can claim any size."""

Headers = npt.NDArray[np.void]
Mask = npt.NDArray[np.bool_]


def encoding_spaces(header: Any, headers: Headers) -> list[EncodingSpace]:
    """Every encoding of a parsed MRD header, with what the readouts, noise apart, have of it."""
    spaces = []
    for number in range(len(header.encoding)):
        encoding = Encoding.from_header(header, number)
        mine = headers[headers["encoding_space_ref"] == number]
        spaces.append(
            EncodingSpace(
                trajectory=encoding.trajectory,
                encoded_matrix=encoding.encoded_matrix,
                encoded_fov_mm=encoding.encoded_fov_mm,
                recon_matrix=encoding.recon_matrix,
                recon_fov_mm=encoding.recon_fov_mm,
                acceleration=encoding.acceleration,
                n_readouts=len(mine),
                counters=_counters(encoding, mine),
                sampling=_sampling(encoding, mine) if encoding.trajectory == "cartesian" else None,
            )
        )
    return spaces


def _counters(encoding: Encoding, headers: Headers) -> dict[str, CounterRange]:
    ranges = {}
    for name in COUNTERS if len(headers) else ():
        values, limit = headers["idx"][name], encoding.limits.get(name)
        ranges[name] = CounterRange(
            first=int(values.min()),
            last=int(values.max()),
            limits=(limit.minimum, limit.maximum) if limit else None,
        )
    return ranges


def _sampling(encoding: Encoding, headers: Headers) -> Sampling | None:
    masks_by_image = image_masks(encoding, headers)
    if not masks_by_image:
        return None
    masks = list(masks_by_image.values())
    missing = [missing_lines(mask, encoding) for mask in masks]
    first = torch.from_numpy(masks[0])
    calibrating = image_masks(encoding, headers[headers["flags"] & _CALIBRATING != 0])
    flagged = calibrating.get(next(iter(masks_by_image)))  # where lines are marked, their neighbours are not
    block = calibration_block((first if flagged is None else torch.from_numpy(flagged))[..., None])
    return Sampling(
        n_images=len(masks),
        n_lines=int(sum(mask.sum() for mask in masks)),
        n_missing=sum(lines.n_missing for lines in missing),
        n_expected=sum(lines.n_expected for lines in missing),
        acceleration=_reversed(regular_acceleration(first)),
        calibration=(block[1].stop - block[1].start, block[0].stop - block[0].start)
        if block and not first.all()
        else None,
        mask=masks[0].tolist(),
    )


def _reversed(zy: tuple[int, int] | None) -> tuple[int, int] | None:
    return (zy[1], zy[0]) if zy else None


def image_masks(encoding: Encoding, headers: Headers) -> dict[tuple[int, ...], Mask]:
    """`(kz, ky)` for each image by its slice, contrast, phase, repetition and set: which lines it has.

    Lines that would fall outside the encoded matrix are left out.
    """
    dropped = np.uint64(sum(FLAG_BITS[name] for name in NOT_FOR_IMAGES))
    headers = headers[headers["flags"] & dropped == 0]
    _, n_y, n_z = encoding.encoded_matrix
    if n_y * n_z > _MAX_LINES:
        return {}
    y = _places(encoding, headers, "kspace_encode_step_1", n_y)
    z = _places(encoding, headers, "kspace_encode_step_2", n_z)
    inside = (z >= 0) & (z < n_z) & (y >= 0) & (y < n_y)
    keys = np.stack([headers["idx"][name] for name in _IMAGE_COUNTERS], axis=1)[inside]
    masks: dict[tuple[int, ...], Mask] = {}
    for key, at_z, at_y in zip(keys.tolist(), z[inside], y[inside], strict=True):
        masks.setdefault(tuple(key), np.zeros((n_z, n_y), np.bool_))[at_z, at_y] = True
    return masks


def _places(encoding: Encoding, headers: Headers, counter: str, n: int) -> npt.NDArray[np.intp]:
    steps: npt.NDArray[np.intp] = headers["idx"][counter].astype(np.intp)
    limit = encoding.limits.get(counter)
    return steps - limit.center + n // 2 if limit else steps
