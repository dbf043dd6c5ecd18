"""Where non-Cartesian readouts lie in k-space."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import pairwise

import numpy as np

from gadgets.accumulate import Counter
from gadgets.encoding import Encoding
from gadgets.gadget import Context, Gadget
from gadgets.header_trajectory import HeaderTrajectory
from gadgets.images_in_progress import NOT_FOR_IMAGES
from gadgets.records import Readouts
from recon_core.errors import InputError

PIXEL_UNITS_REACH = 0.51
"""A readout that reaches no farther than this, in cycles per field of view, is in cycles per pixel."""
PIXEL_UNITS_NOTE = "trajectory taken to be in cycles per pixel: it reaches no farther than 0.5"


class Trajectory(Gadget, frozen=True):
    """Give every readout its trajectory, (kx, ky) or (kx, ky, kz) in cycles per field of view.

    In plane that is the field of view of the header's reconstruction space, so that k reaches ± half its
    matrix; along kz that of the encoded space. What comes with the readouts is taken as it is, or multiplied
    by the matrix where it is in cycles per pixel, ±0.5, which is noted. A third column of a single slice, the
    sampling density of some scanners, is left out.

    Readouts without one get what the header describes. `radial`: spokes at (sample − center_sample) times the
    encoded sample spacing, π/n apart for n values of kspace_encode_step_1; `goldenangle`: 111.246° or the
    angle stated; `spiral`: arms of Hargreaves' design by the parameters that converters of Siemens data
    leave in the trajectory description (`HargreavesVDS2000`); samples after an arm's end are discarded. In
    stacks kz counts kspace_encode_step_2. Cartesian readouts pass.

    Raises InputError for a trajectory that is absent and cannot be computed, of one dimension or more than
    three, or not finite.
    """

    accepts = Readouts
    emits = Readouts

    angle_step_deg: float | None = None
    """Between successive spokes or arms. If not given, the header's parameter `angle_step_deg`, or the usual
    one; tiny golden angles are 68.754, 49.750, 38.978, 32.039, …"""
    first_angle_deg: float | None = None
    """Of spoke or arm 0, from x towards y. If not given, the header's `first_angle_deg`, or 0."""
    continues_over: tuple[Counter, ...] = ("repetition",)
    """Counters over which golden angles go on; over others they begin again."""

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        computed = HeaderTrajectory(
            context.header, self.angle_step_deg, self.first_angle_deg, self.continues_over
        )
        is_per_pixel: bool | None = None
        for block in items:
            for run in _runs_of_one_kind(block):
                space = int(run.headers["encoding_space_ref"][0])
                encoding = Encoding.from_header(context.header, space)
                if run.flagged(*NOT_FOR_IMAGES)[0] or encoding.trajectory == "cartesian":
                    yield run
                    continue
                if not run.trajectory.any():
                    run = computed.attached(run, encoding)
                else:
                    run = _checked(run, encoding)
                    if is_per_pixel is None:
                        is_per_pixel = _is_per_pixel(run, encoding)
                        if is_per_pixel:
                            context.logger.warning(PIXEL_UNITS_NOTE)
                    if is_per_pixel:
                        run = _per_field_of_view(run, encoding)
                yield _with_kz(run, encoding)


def _runs_of_one_kind(block: Readouts) -> Iterator[Readouts]:
    """Cut where the encoding space changes, or image data begin or end, or the trajectories themselves."""
    kinds = np.column_stack(
        [
            block.headers["encoding_space_ref"],
            block.flagged(*NOT_FOR_IMAGES),
            block.trajectory.any(axis=(1, 2)),
            block.headers["center_sample"],
        ]
    )
    starts = [0, *(np.flatnonzero((kinds[1:] != kinds[:-1]).any(axis=1)) + 1), len(block)]
    for start, stop in pairwise(starts):
        yield block.select(slice(start, stop))


def _checked(readouts: Readouts, encoding: Encoding) -> Readouts:
    """With a trajectory that is finite and has no more columns than the image has dimensions."""
    n_columns = readouts.trajectory.shape[2]
    if not 2 <= n_columns <= 3:
        raise InputError(
            f"Trajectory: expected kx, ky and perhaps kz for each sample, got {n_columns} trajectory "
            f"dimensions at scan counter {readouts.headers['scan_counter'][0]}; correct the readouts"
        )
    is_finite = np.isfinite(readouts.trajectory).all((1, 2))
    if not is_finite.all():
        counter = readouts.headers["scan_counter"][int((~is_finite).argmax())]
        raise InputError(
            f"Trajectory: expected finite positions, got NaN or Inf at scan counter {counter}; remove the "
            "readout or send it again"
        )
    n_wanted = 3 if encoding.encoded_matrix[2] > 1 else 2
    return replace(readouts, trajectory=readouts.trajectory[..., :n_wanted])


def _is_per_pixel(readouts: Readouts, encoding: Encoding) -> bool:
    """What the first readout of a scan tells of the unit of all."""
    reach = float(np.linalg.norm(readouts.trajectory[0, :, :2], axis=-1).max())
    return reach <= PIXEL_UNITS_REACH and encoding.recon_matrix[0] > 2


def _per_field_of_view(readouts: Readouts, encoding: Encoding) -> Readouts:
    """From cycles per pixel."""
    n_x, n_y, n_z = *encoding.recon_matrix[:2], encoding.encoded_matrix[2]
    matrix = np.array([n_x, n_y, n_z], np.float32)[: readouts.trajectory.shape[2]]
    notes = (*readouts.notes, PIXEL_UNITS_NOTE)
    return replace(readouts, trajectory=readouts.trajectory * matrix, notes=notes)


def _with_kz(readouts: Readouts, encoding: Encoding) -> Readouts:
    """Stacks whose trajectory is that within the plane: kz from kspace_encode_step_2."""
    trajectory, n_z = readouts.trajectory, encoding.encoded_matrix[2]
    if n_z > 1 and trajectory.shape[2] == 2:
        limit = encoding.limits.get("kspace_encode_step_2")
        steps = readouts.headers["idx"]["kspace_encode_step_2"].astype(np.float32)
        kz = steps - np.float32(limit.center if limit else n_z // 2)
        column = np.broadcast_to(kz[:, None, None], (*trajectory.shape[:2], 1))
        trajectory = np.concatenate([trajectory, column], axis=2)
    headers = readouts.headers.copy()
    headers["trajectory_dimensions"] = trajectory.shape[2]
    return replace(readouts, headers=headers, trajectory=trajectory)
