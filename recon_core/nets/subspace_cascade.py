"""Feature maps by small mDCNs and consistency with the data of all frames, in turn."""

from __future__ import annotations

import torch

from recon_core.errors import InputError
from recon_core.nets.architecture import Architecture, Count
from recon_core.nets.consistency import regularised_solve
from recon_core.nets.convolution import silence
from recon_core.nets.feature_maps import FeatureMaps, Normal, instance_normalised, require_rank
from recon_core.nets.features import channels_last
from recon_core.nets.mdcn import MDCN, MultiLevel


class SubspaceCascade(Architecture, frozen=True):
    """Configuration of a `SubspaceCascadeNetwork`."""

    takes = FeatureMaps
    wants_normal = True

    n_maps: Count = 32
    """L, the rank of the temporal basis."""
    n_cascades: Count = 3
    n_blocks: Count = 2
    """Of each network, as are the next two: those of `MDCN`."""
    growth: Count = 32
    dilations: tuple[Count, ...] = (1, 4, 8, 1)
    consistency_iterations: Count = 4
    """Of conjugate gradients, after each network."""

    def build(self) -> torch.nn.Module:
        return SubspaceCascadeNetwork(self)


class SubspaceCascadeNetwork(torch.nn.Module):
    """U ← argmin_U λ_k ‖E(U) − d‖² + ‖U − (U + g_k(U))‖², from the subspace backprojection U₀.

    The dissertation's network (`MDCN`) never sees the data again. Here its blocks refine, and conjugate
    gradients with the subspace normal operator EᴴE, whose cost does not grow with the frames, put the data
    back: MoDL (Aggarwal et al. 2019, doi:10.1109/TMI.2018.2865356) in the feature space. Weights are learned
    relative to the scan's own ⟨U₀, EᴴE U₀⟩ / ⟨U₀, U₀⟩, for the number of readouts scales EᴴE. A new network
    adds nothing to the maps: it is conjugate gradients from U₀ on.
    """

    def __init__(self, config: SubspaceCascade) -> None:
        super().__init__()
        self.config = config
        backbone = MDCN(n_blocks=config.n_blocks, growth=config.growth, dilations=config.dilations)
        networks = [MultiLevel(2 * config.n_maps, backbone) for _ in range(config.n_cascades)]
        for network in networks:
            silence(network.last)
        self.networks = torch.nn.ModuleList(networks)
        self.log_weights = torch.nn.Parameter(torch.ones(config.n_cascades))
        channels_last(self)

    def forward(self, feature_maps: FeatureMaps, anatomy: str | None = None) -> torch.Tensor:
        """`(slice, L, y, x)` complex feature maps of normalised slices. `anatomy` makes no difference.

        Raises:
            InputError: another number of maps than `n_maps`, or no adjoint and normal operators.
        """
        require_rank("SubspaceCascade", feature_maps.maps, self.config.n_maps)
        maps, adjoint, normals = feature_maps.maps, feature_maps.adjoint, feature_maps.normals
        if adjoint is None or normals is None:
            raise InputError(
                "SubspaceCascade: expected the adjoint of the data and the normal operator of each slice, "
                "got backprojected maps alone; give both, or use mdcn"
            )

        def normal(maps: torch.Tensor) -> torch.Tensor:
            # A slice is a volume of one to its operator.
            volumes = maps[:, :, None]
            return torch.stack([op(one)[:, 0] for op, one in zip(normals, volumes, strict=True)])

        power = _rayleigh_quotient(normal, maps)
        for network, log_weight in zip(self.networks, self.log_weights, strict=True):
            refined = instance_normalised(network, maps, residual=True)
            weight = log_weight.exp() / power
            maps = regularised_solve(refined, adjoint, weight, normal, self.config.consistency_iterations)
        return maps


def _rayleigh_quotient(normal: Normal, maps: torch.Tensor) -> torch.Tensor:
    """`(slice, 1, 1, 1)`: ⟨U, N U⟩ / ⟨U, U⟩, one where that is zero."""
    quotient = (maps.conj() * normal(maps)).real.sum((1, 2, 3)) / maps.abs().square().sum((1, 2, 3))
    return torch.where(quotient > 0, quotient, 1)[:, None, None, None]
