"""A simulated multitasking scan: continuous, free-breathing, without triggers, navigators between spokes.

After the dissertation's T1 mapping of the heart (Christodoulou et al. 2018, doi:10.1038/s41551-018-0217-y;
Shaw et al. 2019, doi:10.1002/mrm.27574): inversions every 2.5 s, FLASH pulses without a pause; every other
readout is the same spoke, a navigator, and those in between turn by the golden angle. What is simulated and
what is not: docs/simulation.md.
"""

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch.nn.functional import max_pool2d

from recon_core.dynamic.anatomy import Anatomy
from recon_core.dynamic.bloch import InversionRecovery
from recon_core.dynamic.chest_phantom import chest_phantom
from recon_core.dynamic.deformation import MARGIN, Strength
from recon_core.dynamic.motion import Motion, random_motion
from recon_core.dynamic.moving_chest import FINER, MovingChest, on_image_grid
from recon_core.dynamic.spokes import SpokeSampler
from recon_core.errors import InputError
from recon_core.simulate import loop_coil_maps, noise_mixing
from recon_core.training.draws import Draws
from recon_core.training.random_phase import tissue_phase
from recon_core.trajectories import directions, golden_angle, radial

OVERSAMPLING = 2
READOUTS_PER_BLOCK = 32
N_NOISE_SAMPLES = 4096


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How to scan. Raises InputError for counts below one or an SNR that is not positive."""

    matrix: int = 160
    n_coils: int = 10
    n_spokes: int = 29 * 344
    """Imaging spokes; there are as many navigators."""
    snr: float = 20.0
    """Mean signal of the body long after an inversion over the noise of a fully sampled image."""
    sequence: InversionRecovery = field(default_factory=InversionRecovery)
    has_heartbeat: bool = True
    has_arrhythmia: bool = False

    def __post_init__(self) -> None:
        is_possible = min(self.matrix, self.n_coils, self.n_spokes) >= 1 and self.snr > 0
        if not is_possible or self.sequence.n_pulses % 2:
            raise InputError(
                "Protocol: expected a matrix, coils and spokes of at least one, an even number of pulses and "
                f"a positive snr, got {self}"
            )


class MultitaskingScan:
    """What the scanner would see of one subject, made as it is asked for, and the truth behind it."""

    def __init__(self, chest: MovingChest, protocol: Protocol, seed: int = 0) -> None:
        """seed: of motion and noise; the subject is `chest`."""
        self.chest, self.protocol, self.seed = chest, protocol, seed
        n_pulses = protocol.sequence.n_pulses
        readout = torch.arange(2 * protocol.n_spokes)
        self.recovery, self.pulse = readout // n_pulses, readout % n_pulses
        times_ms = (
            self.recovery * protocol.sequence.interval_ms + protocol.sequence.inversion_times_ms[self.pulse]
        )
        self.motion: Motion = random_motion(
            times_ms / 1000,
            Draws(seed, "motion"),
            has_heartbeat=protocol.has_heartbeat,
            has_arrhythmia=protocol.has_arrhythmia,
        )
        self.is_navigator = readout % 2 == 0
        self.angles_rad = torch.where(self.is_navigator, 0.0, (readout // 2).double() * golden_angle())
        draws = Draws(seed, "noise")
        self.noise_mixing = noise_mixing(protocol.n_coils, draws.generator) * (self._signal() / protocol.snr)
        self.noise = self.noise_mixing @ draws.complex_normal(protocol.n_coils, N_NOISE_SAMPLES)

    @property
    def inversion_index(self) -> torch.Tensor:
        """`(readout,)`: which of the inversion times a navigator and the spoke after it count as."""
        return self.pulse // 2

    @property
    def inversion_times_ms(self) -> torch.Tensor:
        """`(inversion index,)`: those of the imaging spokes."""
        return self.protocol.sequence.inversion_times_ms[1::2]

    @cached_property
    def radius(self) -> torch.Tensor:
        """`(sample,)`: k along each spoke, in cycles per field of view."""
        n_samples = OVERSAMPLING * self.protocol.matrix
        return (torch.arange(n_samples) - n_samples // 2) / OVERSAMPLING

    @property
    def trajectory(self) -> torch.Tensor:
        """`(readout, sample, 2)` float32, (kx, ky) in cycles per field of view."""
        return radial(directions(self.angles_rad), len(self.radius), spacing=1 / OVERSAMPLING).float()

    @property
    def coil_maps(self) -> torch.Tensor:
        """`(coil, 1, y, x)` on the grid of the images, root sum of squares one."""
        return loop_coil_maps(self.protocol.n_coils, (self.protocol.matrix,) * 2)[:, None]

    def kspace(self, n_threads: int = 1) -> Iterator[torch.Tensor]:
        """`(readout, coil, sample)` complex64 with noise, in blocks of `READOUTS_PER_BLOCK`, in order.

        The same whatever `n_threads`. With several, `torch.set_num_threads(1)` keeps them out of each other's
        way.
        """
        signals, sampler = self._signals(), self._sampler()

        def acquired(readouts: torch.Tensor) -> torch.Tensor:
            seen = self._seen(readouts, signals)
            block = seen.new_empty(
                (len(seen), self.protocol.n_coils, len(self.radius)), dtype=torch.complex64
            )
            is_navigator = self.is_navigator[readouts]
            block[is_navigator] = sampler.along_kx(seen[is_navigator])
            for row in torch.nonzero(~is_navigator)[:, 0].tolist():
                block[row] = sampler.at_angle(seen[row], float(self.angles_rad[readouts[row]]))
            return block

        draws = Draws(self.seed, "noise in readouts")
        for block in _in_blocks(acquired, torch.arange(len(self.pulse)), n_threads):
            yield block + self.noise_mixing @ draws.complex_normal(*block.shape)

    def feature_maps(self, temporal_basis: torch.Tensor, n_threads: int = 1) -> torch.Tensor:
        """`(L, y, x)` complex64: the truth U that spokes could give, A ≈ UΦ.

        The least-squares fit U = AΦ⁺ to the images A at the times of the imaging spokes; none is kept.

        Args:
            temporal_basis: Φ, `(L, spoke)`.
            n_threads: as for `kspace`.
        """
        signals, weights = self._signals(), torch.linalg.pinv(temporal_basis).to(torch.complex64)

        def projected(readouts: torch.Tensor) -> torch.Tensor:
            seen = self._seen(readouts, signals).flatten(1)
            own = weights[readouts // 2]
            return torch.complex(own.real.mT @ seen, own.imag.mT @ seen)

        spokes = torch.nonzero(~self.is_navigator)[:, 0]
        fine = sum(_in_blocks(projected, spokes, n_threads), start=torch.zeros(()))
        return on_image_grid(self.chest.phase * fine.view(-1, *self.chest.phase.shape))

    def _signals(self) -> torch.Tensor:
        return self.chest.signals(int(self.recovery[-1]) + 1)

    def _seen(self, readouts: torch.Tensor, signals: torch.Tensor) -> torch.Tensor:
        """`(readout, y, x)`: what there is to see at each, on the fine grid."""
        return self.chest.seen(
            signals[self.recovery[readouts], self.pulse[readouts]],
            self.motion.cardiac_phase[readouts],
            self.motion.respiration[readouts],
        )

    def _sampler(self) -> SpokeSampler:
        n = len(self.chest.phase)
        maps = loop_coil_maps(self.protocol.n_coils, (n, n)) * self.chest.phase
        body = (self.chest.anatomy.density > 0).float()[None]
        body = max_pool2d(body, 2 * MARGIN + 1, stride=1, padding=MARGIN)[0] > 0
        return SpokeSampler(maps, body, self.radius, 1 / (FINER**2 * self.protocol.matrix))

    def _signal(self) -> float:
        still = torch.zeros(1)
        last = torch.tensor([self.protocol.sequence.n_pulses - 1])
        magnitude = self.chest.frames(still, still, last).abs()
        return float(magnitude[magnitude > 0.05 * magnitude.max()].mean())


def _in_blocks(
    function: Callable[[torch.Tensor], torch.Tensor], readouts: torch.Tensor, n_threads: int
) -> Iterator[torch.Tensor]:
    with ThreadPoolExecutor(n_threads) as pool:
        yield from pool.map(function, torch.split(readouts, READOUTS_PER_BLOCK))


def random_subject(protocol: Protocol, seed: int = 0, anatomy: Anatomy | None = None) -> MovingChest:
    """A subject with a phase and amplitudes of motion of its own, drawn by `chest_phantom` unless given.

    Raises InputError where `anatomy` is not `FINER` times as fine as the protocol's matrix.
    """
    n = FINER * protocol.matrix
    anatomy = anatomy or chest_phantom(n, Draws(seed, "chest"))
    if anatomy.tissue.shape != (n, n):
        raise InputError(
            f"random_subject: expected an anatomy of {n} x {n}, {FINER} times as fine as the images, "
            f"got {tuple(anatomy.tissue.shape)}; resample it"
        )
    draws = Draws(seed, "strength")
    scale = anatomy.fov_mm / 300
    turn_rad = draws.uniform(-0.4, 0.4)
    breath_mm = scale * draws.uniform(7, 13)
    strength = Strength(
        endocardium=draws.uniform(0.2, 0.34),
        epicardium=draws.uniform(0.02, 0.06),
        right_ventricle=draws.uniform(0.2, 0.4),
        faded_mm=25 * scale,
        breath_mm=(breath_mm * math.cos(turn_rad), breath_mm * math.sin(turn_rad)),
    )
    phase = tissue_phase(anatomy.density, draws, strength=0.3)
    return MovingChest(anatomy, phase, protocol.sequence, strength)
