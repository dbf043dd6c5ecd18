"""Spokes put where the gradients took them."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from gadgets.gadget import Context, Gadget
from gadgets.records import NonCartesianKSpace
from recon_core.errors import InputError
from recon_core.gradient_delays import displaced, gradient_delays


class GradientDelays(Gadget, frozen=True):
    """Correct the trajectory of radial images for delays of the gradients, found where their spokes cross.

    Each image by its own spokes, of a stack those of the plane nearest to kz = 0. A trajectory that has been
    corrected already stays as it is, but for what is left. Spirals, spokes that begin in the centre and
    spokes in three dimensions pass; so do spokes that nowhere agree, which is noted. After Rosenzweig et al.
    2019, doi:10.1002/mrm.27506.
    """

    accepts = NonCartesianKSpace
    emits = NonCartesianKSpace

    def __call__(self, items: Iterable[NonCartesianKSpace], context: Context) -> Iterator[NonCartesianKSpace]:
        for kspace in items:
            plane = _central_plane(kspace)
            if plane is None:
                yield kspace
                continue
            try:
                delays = gradient_delays(kspace.data[:, plane], kspace.trajectory[plane, :, :2])
            except InputError as error:
                note = f"trajectory not corrected for {error}"
                context.logger.warning(note)
                yield replace(kspace, notes=(*kspace.notes, note))
                continue
            (xx, xy), (_, yy) = delays.tolist()
            context.logger.info("gradient delays: spokes displaced by %.3f, %.3f, %.3f / FOV", xx, yy, xy)
            yield replace(kspace, trajectory=displaced(kspace.trajectory, delays))


def _central_plane(kspace: NonCartesianKSpace) -> torch.Tensor | None:
    """`(readout,)`: the spokes through the centre with kz nearest to 0; None where there are none such."""
    if kspace.encoding.trajectory not in ("radial", "goldenangle"):
        return None
    nearest = kspace.trajectory.norm(dim=-1).argmin(1)
    if bool(((nearest == 0) | (nearest == kspace.data.shape[2] - 1)).any()):
        return None
    kz = kspace.trajectory[:, :, 2:].sum(-1)
    if bool(((kz - kz[:, :1]).abs() > 0.01).any()):
        return None
    return kz[:, 0] == kz[kz[:, 0].abs().argmin(), 0]
