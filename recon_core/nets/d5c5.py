"""D5C5: a cascade of five small networks and data consistency, with a switch for the anatomy."""

from itertools import pairwise

import torch

from recon_core.nets.architecture import Architecture, Count, Weight
from recon_core.nets.aspin import ASPIN
from recon_core.nets.consistency import Measured, data_consistency
from recon_core.nets.convolution import Convolution
from recon_core.nets.features import channels_last, to_channels, to_image
from recon_core.nets.switched import SwitchedNetwork
from recon_core.nets.undersampled import Undersampled

DISTILLED_LAYER = 3
"""The layer of each cascade whose features carry knowledge from network to network, counted from one."""


class D5C5(Architecture, frozen=True):
    """Configuration of a `D5C5Network`; as it stands, the network of the papers."""

    anatomies: tuple[str, ...] = ()
    """Those with normalisations of their own (ASPIN); none for the plain network, without normalisation."""
    n_cascades: Count = 5
    n_layers: Count = 5
    """Convolutions in each cascade."""
    n_features: Count = 32
    consistency_weight: Weight | None = None
    """λ of `data_consistency`; None for an infinite one."""
    consistency_iterations: Count = 10
    """Of conjugate gradients, where there are coil maps and λ is finite."""

    def build(self) -> torch.nn.Module:
        return D5C5Network(self)


class D5C5Network(SwitchedNetwork):
    """x ← DC(x + CNN_t(x)) for t = 1 … 5, from the zero-filled image.

    Each CNN has five 3 x 3 convolutions with bias, real and imaginary part as two channels at its ends and 32
    features between, a ReLU after each but the last: 144,650 parameters. Schlemper et al. 2018,
    doi:10.1109/TMI.2017.2760978.

    With anatomies, `ASPIN` precedes each ReLU, 1,280 parameters for each. Liu et al. 2021,
    arXiv:2103.05214. There all data are single-coil; here coil maps make the image the SENSE
    combination and the data consistency that of all coils.
    """

    def __init__(self, config: D5C5) -> None:
        super().__init__(config.anatomies)
        self.config = config
        self.cascades = torch.nn.ModuleList(_Cascade(config) for _ in range(config.n_cascades))
        channels_last(self)

    def forward(self, undersampled: Undersampled, anatomy: str | None = None) -> torch.Tensor:
        """`(slice, y, x)` complex images of normalised slices."""
        return self._reconstruct(undersampled, anatomy, None)

    def forward_with_features(
        self, undersampled: Undersampled, anatomy: str | None = None
    ) -> tuple[torch.Tensor, list[torch.Tensor]]:
        """The images, and after the third ReLU of each cascade `(slice, feature, y, x)`, for distillation."""
        features: list[torch.Tensor] = []
        return self._reconstruct(undersampled, anatomy, features), features

    def _reconstruct(
        self, undersampled: Undersampled, anatomy: str | None, features: list[torch.Tensor] | None
    ) -> torch.Tensor:
        anatomy = self.resolved(anatomy)
        measured = Measured(undersampled)
        image = measured.zero_filled
        weight, n_iterations = self.config.consistency_weight, self.config.consistency_iterations
        for cascade in self.cascades:
            image = image + to_image(cascade(to_channels(image), anatomy, features))
            image = data_consistency(image, measured, weight, n_iterations)
        return image


class _Cascade(torch.nn.Module):
    def __init__(self, config: D5C5) -> None:
        super().__init__()
        n_channels = [2, *[config.n_features] * (config.n_layers - 1), 2]
        self.convolutions = torch.nn.ModuleList(
            Convolution(n_in, n_out) for n_in, n_out in pairwise(n_channels)
        )
        self.normalisations = torch.nn.ModuleList(
            ASPIN(config.n_features, config.anatomies) for _ in range(config.n_layers - 1)
        )

    def forward(
        self, x: torch.Tensor, anatomy: str | None, features: list[torch.Tensor] | None
    ) -> torch.Tensor:
        *hidden, last = self.convolutions
        for number, (convolution, normalisation) in enumerate(
            zip(hidden, self.normalisations, strict=True), start=1
        ):
            x = torch.relu_(normalisation(convolution(x), anatomy))
            if features is not None and number == DISTILLED_LAYER:
                features.append(x)
        convolved: torch.Tensor = last(x)
        return convolved
