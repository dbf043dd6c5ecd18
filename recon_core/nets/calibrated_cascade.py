"""The cascade whose networks are fed by SPIRiT: calibration consistency, network, data consistency."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import ClassVar, Literal

import torch

from recon_core import fourier
from recon_core.errors import InputError
from recon_core.nets.architecture import Architecture, Count
from recon_core.nets.consistency import Measured, data_consistency
from recon_core.nets.convolution import Convolution
from recon_core.nets.features import channels_last, to_channels, to_image
from recon_core.nets.switched import SwitchedNetwork
from recon_core.nets.undersampled import Undersampled
from recon_core.spirit import calibration_consistency


class CalibratedCascade(Architecture, frozen=True):
    """Configuration of a `CalibratedCascadeNetwork`; as it stands, the multi-coil network of the paper."""

    spirit_kernel_width: ClassVar[int] = 7

    output: Literal["real_and_imaginary", "complex", "magnitude"] = "real_and_imaginary"
    """The parts of a complex image by a network each; both by one; or the magnitude alone, as the paper has
    it for a single coil."""
    n_subnetworks: Count = 5
    n_layers: Count = 4
    """Hidden layers of each."""
    n_features: Count = 64
    n_projections: Count = 5
    """Of calibration consistency, before each sub-network."""

    def build(self) -> torch.nn.Module:
        return CalibratedCascadeNetwork(self)


class CalibratedCascadeNetwork(SwitchedNetwork):
    """x_p = DC(C_p(Sᴴ CC(x_{p−1}))) for p = 1 … 5, of coil images x.

    CC makes five projections onto what the SPIRiT kernel predicts, each followed by strict data consistency
    (`recon_core.spirit.calibration_consistency`). C_p has four 3 x 3 convolutions of 64 features, each with a
    ReLU, and one to its output, and works on the coil-combined image. DC puts the measured samples into the
    coil images S C_p. The result is combined once more. Dar et al. 2020, doi:10.1002/mrm.28148.

    Nothing belongs to an anatomy, and none makes a difference. A single coil has no calibration consistency.
    Kernels of 3 x 3 are those of the network that the paper builds on (Schlemper et al. 2018,
    doi:10.1109/TMI.2017.2760978), and so is the residual connection: C_p gives what is to be added to its
    input. A complex output, two channels of one network, is not in the paper.
    """

    def __init__(self, config: CalibratedCascade) -> None:
        super().__init__(())
        self.config = config
        self.subnetworks = torch.nn.ModuleList(_Subnetwork(config) for _ in range(config.n_subnetworks))
        channels_last(self)

    def forward(
        self, undersampled: Undersampled, anatomy: str | None = None, depth: int | None = None
    ) -> torch.Tensor:
        """`(slice, y, x)` complex images of normalised slices, after `depth` sub-networks or all.

        Raises:
            InputError: coil maps of several coils without a SPIRiT kernel, or no such depth.
        """
        fed = _Feed(undersampled, self.config.n_projections)
        return data_consistency(self._last_of(depth, fed), fed.measured)

    def subnetwork_image(self, undersampled: Undersampled, depth: int | None = None) -> torch.Tensor:
        """What the last of `depth` sub-networks gives before data consistency; its training compares this."""
        return self._last_of(depth, _Feed(undersampled, self.config.n_projections))

    def _last_of(self, depth: int | None, fed: _Feed) -> torch.Tensor:
        n_subnetworks = len(self.subnetworks)
        depth = n_subnetworks if depth is None else depth
        if not 1 <= depth <= n_subnetworks:
            raise InputError(
                f"CalibratedCascade: expected a depth of 1 to {n_subnetworks}, got {depth}; use one of them"
            )
        image: torch.Tensor = self.subnetworks[0](fed.first())
        for number in range(1, depth):
            image = self.subnetworks[number](fed.after(image))
        return image


class _Feed:
    """Sᴴ CC DC: the images that sub-networks are given."""

    def __init__(self, undersampled: Undersampled, n_projections: int) -> None:
        self.undersampled, self.n_projections = undersampled, n_projections
        self.measured = Measured(undersampled)
        self.is_calibrated = undersampled.kspace.shape[1] > 1
        if self.is_calibrated and undersampled.spirit_kernel is None:
            raise InputError(
                "CalibratedCascade: expected the SPIRiT kernel of several coils, got none; calibrate one "
                "with recon_core.coils.spirit_kernel"
            )

    def first(self) -> torch.Tensor:
        if not self.is_calibrated:
            return self.measured.zero_filled
        return self._calibrated(self.undersampled.kspace)

    def after(self, image: torch.Tensor) -> torch.Tensor:
        coil_maps = self.undersampled.coil_maps
        if not self.is_calibrated or coil_maps is None:
            return data_consistency(image, self.measured)
        kspace = fourier.fft(coil_maps * image[:, None], (-2, -1))
        return self._calibrated(
            torch.where(self.undersampled.sampled[:, None], self.undersampled.kspace, kspace)
        )

    def _calibrated(self, kspace: torch.Tensor) -> torch.Tensor:
        kernel, sampled = self.undersampled.spirit_kernel, self.undersampled.sampled
        assert kernel is not None
        kspace = calibration_consistency(kspace, sampled, kernel, self.n_projections)
        return replace(self.undersampled, kspace=kspace).zero_filled()


class _Subnetwork(torch.nn.Module):
    """Complex image to complex image, by networks that each give one part of it, or one that gives both."""

    def __init__(self, config: CalibratedCascade) -> None:
        super().__init__()
        self.output = config.output
        n_networks = 2 if config.output == "real_and_imaginary" else 1
        n_out = 2 if config.output == "complex" else 1
        self.networks = torch.nn.ModuleList(_convolutions(config, n_out) for _ in range(n_networks))

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        channels = to_channels(image)
        added = torch.cat([network(channels) for network in self.networks], dim=1)
        if self.output == "magnitude":
            return torch.complex(image.abs() + added[:, 0].to(image.real.dtype), torch.zeros_like(image.real))
        return image + to_image(added)


def _convolutions(config: CalibratedCascade, n_out: int) -> torch.nn.Sequential:
    n_channels = [2, *[config.n_features] * config.n_layers]
    layers: list[torch.nn.Module] = []
    for n_before, n_after in pairwise(n_channels):
        layers += [Convolution(n_before, n_after), torch.nn.ReLU(inplace=True)]
    return torch.nn.Sequential(*layers, Convolution(n_channels[-1], n_out))
