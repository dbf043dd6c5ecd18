"""A beating, breathing chest under inversion-recovery FLASH: any frame of it, at any state, on demand."""

from functools import cached_property

import torch

from recon_core.dynamic.anatomy import Anatomy
from recon_core.dynamic.bloch import InversionRecovery, scan_signal
from recon_core.dynamic.deformation import Deformation, Strength
from recon_core.dynamic.inflow import inflow_signal
from recon_core.dynamic.motion import contraction
from recon_core.dynamic.tissues import Tissue
from recon_core.fourier import fft, ifft, resize

FINER = 2
"""The chest is sampled this many times finer than the images: no inverse crime."""
N_UNTIL_PERIODIC = 5
"""Recoveries after which another changes nothing."""


class MovingChest:
    """x(r, t) = ρ(r_ref)·s(T1(r_ref), t)·e^{iφ(r)}, where r_ref is where the tissue at r lies at rest.

    s is `bloch.scan_signal`, and for blood `inflow.inflow_signal`: tissue takes its magnetisation along.
    Frames are a recipe, not an array: 41,280 of them take no memory.
    """

    def __init__(
        self, anatomy: Anatomy, phase: torch.Tensor, sequence: InversionRecovery, strength: Strength
    ) -> None:
        """phase: `(y, x)` complex64 of unit magnitude, on the grid of `anatomy`; it does not move."""
        self.anatomy, self.phase, self.sequence, self.strength = anatomy, phase, sequence, strength
        self.deformation = Deformation(anatomy, strength)
        self.t1_values_ms, value = torch.unique(anatomy.t1_ms.double(), return_inverse=True)
        is_blood = anatomy.tissue == Tissue.BLOOD
        self.signal_index = value + len(self.t1_values_ms) * is_blood
        self.matrix = len(anatomy.tissue) // FINER

    def signals(self, n_recoveries: int) -> torch.Tensor:
        """`(recovery, pulse, T1 value)` float32: of still tissue at every T1, then of flowing blood."""
        kinds = scan_signal, inflow_signal
        both = [signal(self.t1_values_ms, self.sequence, n_recoveries) for signal in kinds]
        return torch.cat(both).permute(1, 2, 0).float().contiguous()

    @cached_property
    def periodic_signals(self) -> torch.Tensor:
        """`(pulse, T1 value)`: those of a recovery after many."""
        return self.signals(N_UNTIL_PERIODIC)[-1]

    def seen(
        self, signals: torch.Tensor, cardiac_phase: torch.Tensor, respiration: torch.Tensor
    ) -> torch.Tensor:
        """`(state, y, x)` on the fine grid, real: the phase is still to be multiplied.

        signals: `(state, T1 value)`, rows of what `signals` gives; states: `(state,)` each.
        """
        at_rest = self.anatomy.density * signals[:, self.signal_index]
        origins = self.deformation.origins(contraction(cardiac_phase), respiration)
        return self.deformation.moved(at_rest, origins)

    def frames(
        self, cardiac_phase: torch.Tensor, respiration: torch.Tensor, pulse: torch.Tensor
    ) -> torch.Tensor:
        """`(frame, y, x)` complex64: the images that spokes could give, at periodic recovery.

        Each argument `(frame,)`: states as in `motion.Motion`, and which pulse after the inversion. The
        corners of k-space, which no spoke of `matrix` samples reaches, are not in them.
        """
        signals = self.periodic_signals[pulse]
        return on_image_grid(self.phase * self.seen(signals, cardiac_phase, respiration))

    def blood_null(self) -> int:
        """The pulse at which blood has the least signal: that of dark-blood frames."""
        blood = self.signal_index[self.anatomy.tissue == Tissue.BLOOD]
        return int(self.periodic_signals[:, blood.median()].abs().argmin())

    def t1_maps_ms(self, cardiac_phase: torch.Tensor, respiration: torch.Tensor) -> torch.Tensor:
        """`(state, y, x)`: T1 at the centre of each pixel of the images, 0 in air."""
        return self._at_pixels(self.anatomy.t1_ms * (self.anatomy.tissue > 0), cardiac_phase, respiration)

    def tissue_maps(self, cardiac_phase: torch.Tensor, respiration: torch.Tensor) -> torch.Tensor:
        """`(state, y, x)` uint8: the tissue at the centre of each pixel of the images."""
        return self._at_pixels(self.anatomy.tissue.float(), cardiac_phase, respiration).byte()

    def _at_pixels(
        self, maps: torch.Tensor, cardiac_phase: torch.Tensor, respiration: torch.Tensor
    ) -> torch.Tensor:
        origins = self.deformation.origins(contraction(cardiac_phase), respiration)
        moved = self.deformation.moved(maps, origins, "nearest")
        # The middle of either grid is a pixel of it: pixel n // 2.
        first = len(maps) // 2 % FINER
        return moved[:, first::FINER, first::FINER][:, : self.matrix, : self.matrix]


def on_image_grid(fine: torch.Tensor) -> torch.Tensor:
    """`(*batch, y, x)`: images of the k-space that spokes reach, of square images `FINER` times as fine."""
    n = fine.shape[-1] // FINER
    k = torch.arange(n, device=fine.device) - n // 2
    reached = k[:, None].square() + k.square() <= (n // 2) ** 2
    kspace = resize(fft(fine, (-2, -1)), (n, n)) / FINER
    return ifft(kspace * reached, (-2, -1))
