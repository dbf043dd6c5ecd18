"""How much of k-space each sample stands for."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Literal

import torch

from gadgets.gadget import Context, Gadget
from gadgets.records import NonCartesianKSpace
from recon_core.density_compensation import pipe_menon, swept_density


class DensityCompensation(Gadget, frozen=True):
    """Weigh samples by the area, or volume, of k-space that they stand for.

    Without weights an image is the more blurred the fewer iterations it gets; with them ten iterations do.
    Images of the same trajectory share them.
    """

    accepts = NonCartesianKSpace
    emits = NonCartesianKSpace

    method: Literal["auto", "swept", "pipe_menon"] = "auto"
    """`swept`: in closed form, for readouts that differ by a rotation, spokes and spirals; `pipe_menon`: for
    any, by iteration (Pipe & Menon 1999). `auto` goes by the header's trajectory."""

    def __call__(self, items: Iterable[NonCartesianKSpace], context: Context) -> Iterator[NonCartesianKSpace]:
        known: tuple[torch.Tensor, torch.Tensor] | None = None
        for kspace in items:
            if known is None or not torch.equal(known[0], kspace.trajectory):
                known = kspace.trajectory, self._weights(kspace)
            yield replace(kspace, weights=known[1])

    def _weights(self, kspace: NonCartesianKSpace) -> torch.Tensor:
        is_swept = kspace.encoding.trajectory in ("radial", "goldenangle", "spiral")
        if self.method == "swept" or (self.method == "auto" and is_swept):
            return swept_density(kspace.trajectory)
        return pipe_menon(kspace.trajectory, kspace.shape)
