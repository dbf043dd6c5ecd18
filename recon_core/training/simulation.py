"""From a slice to what a scanner would have measured of it, and what should come out."""

import math
from typing import Literal

import msgspec
import torch
from torch.nn.functional import adaptive_avg_pool2d

from recon_core.coils.combine import rss
from recon_core.errors import CalibrationError
from recon_core.fourier import fft, ifft, resize
from recon_core.nets.architecture import Count
from recon_core.nets.undersampled import Undersampled
from recon_core.training.draws import Draws, Range
from recon_core.training.known_maps import calibration_samples, estimated_maps, normalised_maps, support
from recon_core.training.random_coils import N_NODES, interpolated, random_sensitivities
from recon_core.training.random_phase import sinusoidal_phase, tissue_phase
from recon_core.training.random_view import random_view
from recon_core.training.retrospective import calibrated, combined
from recon_core.training.slices import Slice

Shape = tuple[int, int]

FINER = 1.25
"""Coil images are formed on a grid this much finer than the scan's, from an object on a finer one still.

The smooth maps spread the object's spectrum by a few samples only, so that what is cut off afterwards is what
a scanner cuts off, and nothing aliases into what is kept.
"""
COMPLEX_PHASE = 0.3
"""Strength of the phase added to images that have one, relative to that of images without."""
GRAIN = (0.01, 0.15)
"""Standard deviation of what makes examples grainy, over the mean magnitude."""
ACQUIRED = (0.7, 1.0)
"""Share of k-space along each axis that an interpolating scanner acquires."""
LARGER = (1.05, 1.35)
"""Times the field of view along ky that is seen of an object that folds in."""
FADING = 0.06
"""Share of the field of view over which objects that are larger fade at each side."""
DARK = 0.08
"""Magnitude, relative to the largest, that turns brightest when bright and dark tissue change places."""
OBJECT = 0.1
"""Share of the largest magnitude above which a pixel counts in the mean signal."""


class Simulation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How slices become scans. Ranges are drawn from anew for every example."""

    matrices: tuple[tuple[Count, Count], ...] = ((160, 160), (192, 160), (160, 192), (192, 192))
    """`(ny, nx)`, one for each batch. Slices of k-space keep their own."""
    n_coils: tuple[Count, ...] = (4, 6, 8, 12, 16)
    """One for each batch; 1 is a single uniform coil, without maps."""
    compressed: float = 0.5
    """Share of examples whose channels are the strongest combinations of more coils."""
    measured_maps: float = 0.0
    """Share of examples with the sensitivities of real k-space among the sources, not of random loops."""
    estimated: float = 0.3
    """Share of examples whose maps are calibrated (ESPIRiT) from the noisy samples, as a scan's are."""
    cropped: float = 0.5
    """Share of the other examples whose maps are zero outside the object."""
    snr: Range = (5.0, 500.0)
    """Mean signal of the object over the noise of a fully sampled combined image; log-uniform."""
    augment: bool = True
    """Whether views and contrasts vary; without, the image fills the field of view as it is."""
    zoom: Range = (0.7, 1.3)
    """Field of view over the longer side of the image; log-uniform."""
    tilt_rad: float = 0.2
    """Standard deviation of rotations, beside quarter turns."""
    gamma: Range = (0.7, 1.4)
    """Exponent of the magnitude; log-uniform."""
    inverted: float = 0.0
    """Share of examples whose bright tissue is dark and whose dark tissue is bright."""
    phase: float = 1.0
    """Strength of the added phase: sinusoidal of natural images, else as tissue has it."""
    grain: float = 0.0
    """Share of examples that are grainy themselves, which all coils agree on: no noise of theirs."""
    wrapped: float = 0.0
    """Share of examples whose object is larger than the field of view along ky, and folds in."""
    inconsistent: Range = (0.0, 0.0)
    """Standard deviation of what each line is multiplied by, beside one, as by pulsation and drift;
    log-uniform."""
    unequal: float = 0.0
    """Standard deviation of the logarithm of the coils' noise levels, as of scans without a noise scan."""
    interpolated: float = 0.0
    """Share of examples whose outer k-space is empty, as of a scanner that interpolates."""
    target: Literal["noise_free", "measured"] = "noise_free"
    """`measured`: with the noise of the fully sampled scan, as references of real scans have. What was
    sampled is then to be kept as it is, and the rest to be predicted."""

    def __post_init__(self) -> None:
        if not (self.matrices and self.n_coils):
            raise ValueError("simulation: expected matrices and numbers of coils, got none")


def simulate(
    image: Slice,
    sampled: torch.Tensor,
    n_coils: int,
    simulation: Simulation,
    draws: Draws,
    sensitivities: torch.Tensor | None = None,
) -> tuple[Undersampled, torch.Tensor]:
    """One undersampled slice y = M (crop F S ρ + n), and its target x = Ŝᴴ F⁻¹ crop F S ρ.

    ρ is a random view of the image with a phase, S are random sensitivities. The target is the fully sampled
    scan, noise-free unless told, combined with the maps Ŝ that the network is given: S over its root sum of
    squares, or estimated from the samples. The noise level too is estimated from them, as that of scans is.

    Args:
        image: of any kind but k-space.
        sampled: `(ky, kx)` boolean; also states the matrix.
        n_coils: channels; one is a uniform coil, without maps.
        simulation: what to draw from.
        draws: where chance comes from: the same draws, the same example.
        sensitivities: `(coil, y, x)` on `N_NODES` squared, in place of random ones.

    Returns:
        A batch of one slice, and its `(1, y, x)` target, complex64.
    """
    matrix = (sampled.shape[0], sampled.shape[1])
    seen = matrix
    if n_coils > 1 and simulation.wrapped and draws.chance(simulation.wrapped):
        seen = (2 * round(draws.uniform(*LARGER) * matrix[0] / 2), matrix[1])
    fine = _finer(seen)
    object_ = _resolved(_object(image, seen, simulation, draws), fine) * fading(fine)
    if simulation.grain and draws.chance(simulation.grain):
        strength = float(object_.abs().mean()) * draws.log_uniform(*GRAIN)
        object_ = object_ + strength * draws.complex_normal(*fine)
    if n_coils == 1:
        kspace = _resolved_kspace(object_[None], matrix)
    else:
        if sensitivities is None:
            square = resize(object_.abs(), (max(fine), max(fine)))
            where = adaptive_avg_pool2d(square[None], N_NODES)[0]
            sensitivities = random_sensitivities(n_coils, where, draws, compressed=simulation.compressed)
        coil_images = interpolated(sensitivities, fine) * object_
        kspace = _resolved_kspace(_folded(coil_images, _finer(matrix)[0]), matrix)
    coil_images = ifft(kspace, (-2, -1))
    magnitude = rss(coil_images, -3)
    measured = _measured(kspace, magnitude, simulation, draws)
    noisy = measured * sampled
    if simulation.target == "measured":
        coil_images = ifft(measured, (-2, -1))
    maps = None
    if sensitivities is not None:
        maps = _given_maps(
            resize(interpolated(sensitivities, seen), matrix), magnitude, noisy, sampled, simulation, draws
        )
    return calibrated(noisy, sampled, maps), combined(coil_images, maps)[None]


def _finer(matrix: Shape) -> Shape:
    """The grid of the coil images."""
    return 2 * round(FINER * matrix[0] / 2), 2 * round(FINER * matrix[1] / 2)


def fading(shape: Shape) -> torch.Tensor:
    """`(y, x)`: to zero at all sides. Those of an object that is cut off would meet in k-space, as they do in
    no scan."""
    along = []
    for n in shape:
        to_side = 0.5 - (torch.arange(n) - n // 2).abs() / n
        along.append((to_side / FADING).clamp(max=1).mul(math.pi / 2).sin().square())
    return along[0][:, None] * along[1]


def _folded(images: torch.Tensor, length: int) -> torch.Tensor:
    """`(coil, y, x)` with what lies outside the central `length` rows added at the opposite end, as sampling
    of k-space does."""
    centre = images.shape[1] // 2
    rows = (torch.arange(images.shape[1]) - centre + length // 2) % length
    return images.new_zeros(images.shape[0], length, images.shape[2]).index_add_(1, rows, images)


def _measured(
    kspace: torch.Tensor, magnitude: torch.Tensor, simulation: Simulation, draws: Draws
) -> torch.Tensor:
    """All samples `(coil, ky, kx)` as a scanner gives them."""
    noise_std = float(magnitude[magnitude > OBJECT * magnitude.max()].mean()) / draws.log_uniform(
        *simulation.snr
    )
    noise = noise_std * draws.complex_normal(*kspace.shape)
    if simulation.unequal:
        noise *= torch.exp(simulation.unequal * draws.normal(len(kspace), 1, 1))
    if simulation.inconsistent[1]:
        spread = draws.log_uniform(*simulation.inconsistent)
        kspace = kspace * (1 + spread * draws.complex_normal(kspace.shape[1], 1))
    measured = kspace + noise
    if simulation.interpolated and draws.chance(simulation.interpolated):
        shape = list(kspace.shape[1:])
        measured = resize(resize(measured, [round(draws.uniform(*ACQUIRED) * n) for n in shape]), shape)
    return measured


def _object(image: Slice, matrix: Shape, simulation: Simulation, draws: Draws) -> torch.Tensor:
    """The image in its field of view, complex, at least as fine as the grid of the coil images."""
    if simulation.augment:
        view = random_view(
            image.data,
            matrix,
            draws,
            finer=FINER,
            zoom=simulation.zoom,
            tilt_rad=simulation.tilt_rad,
            gamma=simulation.gamma,
        )
    else:
        view = resize(image.data, [max(n) for n in zip(image.data.shape, matrix, strict=True)])
    if simulation.inverted and draws.chance(simulation.inverted):
        magnitude = view.abs() / view.abs().max().clamp(min=1e-12)
        view = torch.sgn(view) * (magnitude / (magnitude + DARK) * (1.05 - magnitude))
    if image.kind == "natural":
        return view * sinusoidal_phase((view.shape[0], view.shape[1]), draws, simulation.phase)
    strength = COMPLEX_PHASE if image.kind == "complex" else 1.0
    return view * tissue_phase(view, draws, strength * simulation.phase)


def _resolved_kspace(image: torch.Tensor, shape: Shape) -> torch.Tensor:
    """The centre of the k-space of `(*batch, y, x)`, scaled so that transforming it back keeps intensities.

    Axis by axis: the second transform sees only rows that are kept.
    """
    rows = resize(fft(image, (-2,)), (shape[0], image.shape[-1]))
    scale = (shape[0] * shape[1] / (image.shape[-2] * image.shape[-1])) ** 0.5
    return resize(fft(rows, (-1,)), shape).mul(scale)


def _resolved(image: torch.Tensor, shape: Shape) -> torch.Tensor:
    """The image at another resolution."""
    return ifft(_resolved_kspace(image, shape), (-2, -1))


def _given_maps(
    sensitivities: torch.Tensor,
    magnitude: torch.Tensor,
    noisy: torch.Tensor,
    sampled: torch.Tensor,
    simulation: Simulation,
    draws: Draws,
) -> torch.Tensor:
    """`(set, coil, y, x)`; the true ones, of `sensitivities` on the grid of the scan, have no second set."""
    if draws.chance(simulation.estimated):
        try:
            return estimated_maps(noisy, sampled)
        except CalibrationError:
            pass  # too few central samples: some patterns have no more
    maps = normalised_maps(sensitivities, calibration_samples(noisy, sampled))
    if draws.chance(simulation.cropped):
        maps = maps * support(magnitude)
    return torch.stack([maps, torch.zeros_like(maps)])
