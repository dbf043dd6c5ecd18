"""Samples off the grid into a temporal feature space."""

import torch

from gadgets.feature_records import FeatureSpace, Frames
from gadgets.records import CalibratedNonCartesianKSpace
from recon_core.density_compensation import swept_density
from recon_core.feature_kernel import KernelSums
from recon_core.feature_sums import FeatureSums
from recon_core.rotated_readouts import rotated_readouts


def feature_space(
    kspace: CalibratedNonCartesianKSpace, basis: torch.Tensor, frames: Frames, *notes: str
) -> FeatureSpace:
    """The data projected by the basis at its readouts, `(L, readout)`, with the first set of coil maps."""
    rotated = rotated_readouts(kspace.trajectory, kspace.shape)
    weights = mean_density(kspace.trajectory)
    sums, kernel = FeatureSums(kspace.shape, rotated), KernelSums(kspace.shape, rotated, weights)
    sums.add(kspace.data * weights, kspace.trajectory, basis)
    kernel.add(kspace.trajectory, basis)
    return FeatureSpace(
        images=sums.images(),
        kernel=kernel.kernel(),
        coil_maps=kspace.coil_maps[0],
        frames=frames,
        header=kspace.header,
        encoding=kspace.encoding,
        notes=(*kspace.notes, *notes),
    )


def mean_density(trajectory: torch.Tensor) -> torch.Tensor:
    """`(sample,)`: the area of k-space that a sample stands for, the same for all readouts.

    So the normal operator is a convolution with few kernels, however many readouts there are.
    """
    return swept_density(trajectory).mean(0)
