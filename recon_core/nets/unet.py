"""U-Net of learners, for several anatomies."""

import torch
from torch.nn.functional import avg_pool2d, leaky_relu_, pad

from recon_core.errors import InputError
from recon_core.nets.architecture import Architecture, Count, Weight
from recon_core.nets.consistency import Measured, data_consistency
from recon_core.nets.features import channels_last, to_channels, to_image
from recon_core.nets.instance_norm import instance_norm_
from recon_core.nets.learners import Learner, LearnerName, require_fitting
from recon_core.nets.switched import SwitchedNetwork
from recon_core.nets.undersampled import Undersampled

NEGATIVE_SLOPE = 0.2


class UNet(Architecture, frozen=True):
    """Configuration of a `UNetNetwork`; as it stands, one network for all anatomies."""

    anatomies: tuple[str, ...] = ()
    """Those with a part of each learner of their own; none with pn0 and pn4_shared."""
    learner: LearnerName = "pn0"
    n_levels: Count = 4
    """Times that the image is halved."""
    n_features: Count = 32
    """At full size; twice as many after each halving."""
    consistency_weight: Weight | None = None
    """λ of `data_consistency`, once at the end; None for an infinite one, 0 for no consistency, as in the
    paper."""
    consistency_iterations: Count = 10
    """Of conjugate gradients, where there are coil maps and λ is finite."""

    def build(self) -> torch.nn.Module:
        return UNetNetwork(self)


class UNetNetwork(SwitchedNetwork):
    """DC(x + UNet(x)) of the zero-filled image x, real and imaginary part as two channels.

    fastMRI's U-Net (Zbontar et al. 2018, arXiv:1811.08839): two 3 x 3 convolutions a level, mean pooling,
    2 x 2 transposed convolutions with instance norm on the way up, leaky ReLUs of slope 0.2, 1 x 1 at the
    end. Every convolution is a learner (`recon_core.nets.learners`) of MAPN, arXiv:2206.07364; the transposed
    ones are shared.

    The paper has neither the sum with x nor the data consistency. Both are here: what was measured should not
    be lost to a network, and the weight 0 leaves it out. Coil maps make the image the SENSE combination and
    the data consistency that of all coils.
    """

    def __init__(self, config: UNet) -> None:
        super().__init__(config.anatomies)
        require_fitting(config.learner, config.anatomies)
        self.config = config
        widths = [config.n_features << level for level in range(config.n_levels + 1)]
        self.down = torch.nn.ModuleList(
            _Level(config, n_in, n_out) for n_in, n_out in zip([2, *widths], widths, strict=False)
        )
        self.transposed = torch.nn.ModuleList(
            torch.nn.ConvTranspose2d(2 * width, width, kernel_size=2, stride=2, bias=False)
            for width in reversed(widths[:-1])
        )
        self.up = torch.nn.ModuleList(_Level(config, 2 * width, width) for width in reversed(widths[:-1]))
        self.last = Learner(config.learner, widths[0], 2, config.anatomies, kernel_size=1)
        channels_last(self)

    def forward(self, undersampled: Undersampled, anatomy: str | None = None) -> torch.Tensor:
        """`(slice, y, x)` complex images of normalised slices.

        Raises:
            InputError: an unknown anatomy, or slices too small to be halved so often.
        """
        anatomy = self.resolved(anatomy)
        measured = Measured(undersampled)
        self._require_size(measured.zero_filled)
        image = measured.zero_filled + to_image(self._unet(to_channels(measured.zero_filled), anatomy))
        return data_consistency(
            image, measured, self.config.consistency_weight, self.config.consistency_iterations
        )

    def _unet(self, x: torch.Tensor, anatomy: str | None) -> torch.Tensor:
        *levels, deepest = self.down
        skipped = []
        for level in levels:
            x = level(x, anatomy)
            skipped.append(x)
            x = avg_pool2d(x, 2)
        x = deepest(x, anatomy)
        for transposed, level in zip(self.transposed, self.up, strict=True):
            x = leaky_relu_(instance_norm_(transposed(x)), NEGATIVE_SLOPE)
            beside = skipped.pop()
            n_missing_y, n_missing_x = beside.shape[-2] - x.shape[-2], beside.shape[-1] - x.shape[-1]
            if n_missing_y or n_missing_x:  # halving an odd length leaves the last out
                x = pad(x, (0, n_missing_x, 0, n_missing_y), mode="reflect")
            x = level(torch.cat([x, beside], dim=1), anatomy)
        learned: torch.Tensor = self.last(x, anatomy)
        return learned

    def _require_size(self, image: torch.Tensor) -> None:
        smallest = 1 << self.config.n_levels
        if min(image.shape[-2:]) < smallest:
            raise InputError(
                f"U-Net: expected slices of at least {smallest} x {smallest}, got {tuple(image.shape[-2:])}; "
                f"use a network of fewer levels"
            )


class _Level(torch.nn.Module):
    def __init__(self, config: UNet, n_in: int, n_out: int) -> None:
        super().__init__()
        self.first = Learner(config.learner, n_in, n_out, config.anatomies)
        self.second = Learner(config.learner, n_out, n_out, config.anatomies)

    def forward(self, x: torch.Tensor, anatomy: str | None) -> torch.Tensor:
        x = leaky_relu_(self.first(x, anatomy), NEGATIVE_SLOPE)
        return leaky_relu_(self.second(x, anatomy), NEGATIVE_SLOPE)
