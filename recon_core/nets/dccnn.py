"""DCCNN: a cascade of networks of learners and data consistency, for several anatomies."""

from itertools import pairwise

import torch
from torch.nn.functional import leaky_relu_

from recon_core.nets.architecture import Architecture, Count, Weight
from recon_core.nets.consistency import Measured, data_consistency
from recon_core.nets.features import channels_last, to_channels, to_image
from recon_core.nets.learners import Learner, LearnerName, require_fitting
from recon_core.nets.switched import SwitchedNetwork
from recon_core.nets.undersampled import Undersampled


class DCCNN(Architecture, frozen=True):
    """Configuration of a `DCCNNNetwork`; as it stands, one network for all anatomies (MAON)."""

    anatomies: tuple[str, ...] = ()
    """Those with a part of each learner of their own; none with pn0 and pn4_shared."""
    learner: LearnerName = "pn0"
    n_cascades: Count = 5
    n_layers: Count = 5
    """Learners in each cascade."""
    n_features: Count = 64
    consistency_weight: Weight | None = None
    """λ of `data_consistency`; None for an infinite one."""
    consistency_iterations: Count = 10
    """Of conjugate gradients, where there are coil maps and λ is finite."""

    def build(self) -> torch.nn.Module:
        return DCCNNNetwork(self)


class DCCNNNetwork(SwitchedNetwork):
    """x ← DC(x + CNN_t(x)) for t = 1 … 5, from the zero-filled image.

    Each CNN has five learners (`recon_core.nets.learners`), real and imaginary part as two channels at its
    ends and 64 features between, a leaky ReLU behind each but the last. MAPN, arXiv:2206.07364, where data
    are of a single coil; here coil maps make the image the SENSE combination and the data consistency that of
    all coils.

    The paper draws neither the residual connection, taken from the network that it extends (Schlemper et al.
    2018, doi:10.1109/TMI.2017.2760978), nor says whether a leaky ReLU ends a CNN. It does not here: it would
    weaken every negative correction.
    """

    def __init__(self, config: DCCNN) -> None:
        super().__init__(config.anatomies)
        require_fitting(config.learner, config.anatomies)
        self.config = config
        self.cascades = torch.nn.ModuleList(_Cascade(config) for _ in range(config.n_cascades))
        channels_last(self)

    def forward(self, undersampled: Undersampled, anatomy: str | None = None) -> torch.Tensor:
        """`(slice, y, x)` complex images of normalised slices."""
        anatomy = self.resolved(anatomy)
        measured = Measured(undersampled)
        image = measured.zero_filled
        for cascade in self.cascades:
            image = image + to_image(cascade(to_channels(image), anatomy))
            image = data_consistency(
                image, measured, self.config.consistency_weight, self.config.consistency_iterations
            )
        return image


class _Cascade(torch.nn.Module):
    def __init__(self, config: DCCNN) -> None:
        super().__init__()
        n_channels = [2, *[config.n_features] * (config.n_layers - 1), 2]
        self.learners = torch.nn.ModuleList(
            Learner(config.learner, n_in, n_out, config.anatomies) for n_in, n_out in pairwise(n_channels)
        )

    def forward(self, x: torch.Tensor, anatomy: str | None) -> torch.Tensor:
        *hidden, last = self.learners
        for learner in hidden:
            x = leaky_relu_(learner(x, anatomy))
        learned: torch.Tensor = last(x, anatomy)
        return learned
