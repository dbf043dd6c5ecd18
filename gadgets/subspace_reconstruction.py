"""Feature maps from data in a temporal feature space."""

from collections.abc import Iterable, Iterator
from typing import Literal

import torch

from gadgets.feature_records import FeatureSeries, FeatureSpace
from gadgets.gadget import Context, Gadget
from gadgets.reconstructed import METHOD
from recon_core.solve.conjugate_gradient import conjugate_gradient
from recon_core.subspace_reconstruction import locally_low_rank_subspace, wavelet_subspace

NAMES = {
    "wavelet": "subspace ADMM, wavelets",
    "locally_low_rank": "subspace ADMM, locally low rank",
    "least_squares": "subspace conjugate gradients",
}
_ADMM = {"wavelet": (wavelet_subspace, 0.002), "locally_low_rank": (locally_low_rank_subspace, 0.02)}
"""Solver, and its usual regularisation."""


class SubspaceReconstruction(Gadget, frozen=True):
    """Feature maps that fit the data and are sparse in wavelets, or of low rank in patches, by ADMM.

    Christodoulou et al. 2018, doi:10.1038/s41551-018-0217-y; Tamir et al. 2017, doi:10.1002/mrm.26102.
    """

    accepts = FeatureSpace
    emits = FeatureSeries

    method: Literal["wavelet", "locally_low_rank", "least_squares"] = "wavelet"
    """`least_squares`: conjugate gradients alone, stopped early."""
    regularisation: float | None = None
    """Relative to the brightest sample of the backprojection; 0.002 for wavelets, 0.02 for low rank if not
    given."""
    n_iterations: int = 10
    """Of ADMM, or of `least_squares`."""
    n_inner_iterations: int = 4
    """Of the conjugate gradients in each."""

    def __call__(self, items: Iterable[FeatureSpace], context: Context) -> Iterator[FeatureSeries]:
        for space in items:
            yield solved(space, self)


def solved(space: FeatureSpace, gadget: SubspaceReconstruction) -> FeatureSeries:
    """The feature maps with the gadget's parameters."""
    normal_op, rhs = space.normal_op, space.right_hand_side
    if gadget.method == "least_squares":
        maps = conjugate_gradient(normal_op, rhs, n_iterations=gadget.n_iterations)
    else:
        solver, usual = _ADMM[gadget.method]
        maps = solver(
            normal_op,
            rhs,
            regularisation=usual if gadget.regularisation is None else gadget.regularisation,
            n_iterations=gadget.n_iterations,
            n_inner_iterations=gadget.n_inner_iterations,
        )
    return feature_series(space, maps, {METHOD: NAMES[gadget.method]})


def feature_series(
    space: FeatureSpace, maps: torch.Tensor, meta: dict[str, str | list[str]], *notes: str
) -> FeatureSeries:
    """Feature maps `(L, z, y, x)` of a space, with its header and notes."""
    return FeatureSeries(
        maps=maps,
        frames=space.frames,
        header=space.header,
        encoding=space.encoding,
        meta=meta,
        notes=(*space.notes, *notes),
    )
