"""A gadget that lives in a package of its own."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from gadgets.gadget import Context, Gadget
from gadgets.records import KSpace


class Apodise(Gadget, frozen=True):
    """Damp the outer samples of each readout, which trades sharpness for less ringing.

    ``y(k) = x(k) cos^2(pi w k / n)`` with k counted from the centre of n samples.
    """

    accepts = KSpace
    emits = KSpace

    strength: float = 0.5
    """w: 0 leaves k-space as it is, 1 brings its edges to zero."""

    def __call__(self, items: Iterable[KSpace], context: Context) -> Iterator[KSpace]:
        for kspace in items:
            n = kspace.data.shape[-1]
            k = torch.arange(n, device=kspace.data.device) - n // 2
            window = torch.cos(torch.pi * self.strength * k / n).square()
            yield replace(kspace, data=kspace.data * window)
