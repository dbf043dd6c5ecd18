"""A simulated multi-coil acquisition of the head phantom, made on a finer grid than the reconstruction's."""

import math
from dataclasses import dataclass

import torch

from recon_core.errors import InputError
from recon_core.fourier import fft, ifft, resize
from recon_core.phantom import FOV_MM, head_phantom, positions_mm

FINER = 4
"""The object and coils are sampled this many times finer than the reconstruction's grid: no inverse crime."""

COIL_RADIUS_MM = 150.0
COIL_RING_MM = 45.0


@dataclass(frozen=True)
class SimulatedScan:
    """What the scanner saw, and the truth behind it. complex64."""

    kspace: torch.Tensor
    """(slice, coil, 1, ky, kx) with the readout oversampled, noise included."""

    noise: torch.Tensor
    """(coil, sample): a noise scan with the receiver bandwidth of `kspace`."""

    covariance: torch.Tensor
    """(coil, coil): E[n nᴴ] of the noise in both."""

    coil_maps: torch.Tensor
    """(slice, coil, 1, y, x) on the reconstruction grid, root sum of squares one."""

    ground_truth: torch.Tensor
    """(slice, 1, y, x): the object's k-space cropped to the matrix, complex; see `simulate_acquisition`."""


def simulate_acquisition(
    matrix: tuple[int, int] = (256, 256),
    n_coils: int = 16,
    *,
    oversampling: int = 2,
    n_slices: int = 1,
    slice_spacing_mm: float = 3.0,
    snr: float = 40.0,
    n_noise_samples: int = 4096,
    seed: int = 0,
) -> SimulatedScan:
    """Fully sampled axial slices of the head: y = crop F (S·ρ) + n, with F at `FINER` times the resolution.

    The coil maps have unit root sum of squares (as after a pre-scan normalisation), so root sum of squares,
    GRAPPA and SENSE with any normalised maps all converge to the same image: the ground truth is the
    object's own k-space cropped to the matrix and transformed back, whose Gibbs ringing belongs to it.

    Args:
        matrix: (ny, nx) of the reconstruction; the field of view is square, `phantom.FOV_MM` wide.
        n_coils: receiver channels, in two rings around the head.
        oversampling: kx covers `oversampling` times the field of view.
        n_slices: axial slices, around the middle of the head.
        slice_spacing_mm: distance of their centres.
        snr: mean signal of the head over the noise of a fully sampled, noise-optimal coil combination.
        n_noise_samples: samples of the noise scan.
        seed: of noise and noise covariance.

    Raises:
        InputError: a count is below one, or `snr` is not positive.
    """
    if min(*matrix, n_coils, oversampling, n_slices, n_noise_samples) < 1 or snr <= 0:
        raise InputError(
            f"simulate_acquisition: expected sizes of at least one and a positive snr, got matrix {matrix}, "
            f"{n_coils} coils, oversampling {oversampling}, {n_slices} slices, "
            f"{n_noise_samples} noise samples, snr {snr}"
        )
    n_y, n_x = matrix
    z_mm = positions_mm(n_slices, n_slices * slice_spacing_mm).tolist()
    slices = [_acquire_slice(matrix, n_coils, oversampling, z) for z in z_mm]
    kspace = torch.stack([kspace for kspace, _ in slices])
    ground_truth = torch.stack([truth for _, truth in slices])

    generator = torch.Generator().manual_seed(seed)
    head = ground_truth.abs()[ground_truth.abs() > 0.05].mean()
    mixing = noise_mixing(n_coils, generator) * (head / snr)
    kspace += (mixing @ complex_normal((n_slices, n_coils, kspace[0, 0].numel()), generator)).view_as(kspace)
    return SimulatedScan(
        kspace=kspace,
        noise=mixing @ complex_normal((n_coils, n_noise_samples), generator),
        covariance=mixing @ mixing.mH,
        coil_maps=torch.stack([loop_coil_maps(n_coils, (n_y, n_x), z_mm=z)[:, None] for z in z_mm]),
        ground_truth=ground_truth,
    )


def loop_coil_maps(
    n_coils: int, shape_yx: tuple[int, int], *, fov_mm: float = FOV_MM, z_mm: float = 0.0
) -> torch.Tensor:
    """Receive sensitivities (coil, y, x), complex64, of small loops around the head, root sum of squares one.

    Each loop is a magnetic dipole m pointing at the axis; its sensitivity is B_x − i·B_y (principle of
    reciprocity, Hoult & Richards 1976, doi:10.1016/0022-2364(76)90233-X) of B = (3(m·r̂)r̂ − m)/|r|³.
    Defined in mm, so grids of any size sample the same field. Even and odd loops sit in two rings, at
    ∓`COIL_RING_MM` along z.
    """
    y_mm, x_mm = (positions_mm(n, fov_mm) for n in shape_yx)
    maps = torch.empty((n_coils, *shape_yx), dtype=torch.complex64)
    for coil in range(n_coils):
        angle_rad = 2 * math.pi * coil / n_coils
        m_x, m_y = -math.cos(angle_rad), -math.sin(angle_rad)
        r_x = (x_mm + COIL_RADIUS_MM * m_x)[None, :]
        r_y = (y_mm + COIL_RADIUS_MM * m_y)[:, None]
        r_z = z_mm + (COIL_RING_MM if coil % 2 else -COIL_RING_MM)
        inverse = (r_x.square() + r_y.square() + r_z**2).rsqrt_()
        cubed = inverse.pow(3)
        along = (m_x * r_x + m_y * r_y).mul_(3).mul_(cubed).mul_(inverse).mul_(inverse)
        maps[coil] = torch.complex(along * r_x - m_x * cubed, m_y * cubed - along * r_y)
    return maps.div_(torch.linalg.vector_norm(maps, dim=0))


def head_object(shape_yx: tuple[int, int], *, z_mm: float = 0.0) -> torch.Tensor:
    """The head phantom `(y, x)` with the phase that a gradient echo would have; complex64."""
    return torch.polar(head_phantom(shape_yx, z_mm=z_mm), _transmit_phase(shape_yx, z_mm))


def _acquire_slice(
    matrix: tuple[int, int], n_coils: int, oversampling: int, z_mm: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Noiseless k-space (coil, 1, ky, kx) of one slice, and its ground truth (1, y, x)."""
    n_y, n_x = matrix
    fine = (FINER * n_y, FINER * n_x)
    object_ = head_object(fine, z_mm=z_mm)
    maps = loop_coil_maps(n_coils, fine, z_mm=z_mm)
    kspace = object_.new_zeros((n_coils, 1, n_y, oversampling * n_x))
    for coil in range(n_coils):
        kspace[coil, 0] = cropped_fft(maps[coil] * object_, n_y, n_x, oversampling)
    return kspace, ifft(cropped_fft(object_, n_y, n_x, 1)[None])


def cropped_fft(image: torch.Tensor, n_y: int, n_x: int, oversampling: int) -> torch.Tensor:
    """The central (n_y, oversampling·n_x) samples of a fine image's k-space, its view widened along x.

    Axis by axis, so that the second transform only sees rows that are kept. Divided by `FINER`, so
    that the orthonormal inverse transform on the coarse grid gives back the image's intensity.
    """
    rows = resize(fft(image, (-2,)), (n_y, image.shape[-1]))
    wide = resize(rows, (n_y, oversampling * image.shape[-1]))
    return resize(fft(wide, (-1,)), (n_y, oversampling * n_x)) / FINER


def _transmit_phase(shape_yx: tuple[int, int], z_mm: float) -> torch.Tensor:
    """A smooth phase in radians: a gentle bowl, and off-resonance above the sinuses (anterior, low)."""
    y_mm, x_mm = (positions_mm(n, FOV_MM) for n in shape_yx)
    y_mm, x_mm = y_mm[:, None], x_mm[None, :]
    bowl = 0.8 * (x_mm.square() + y_mm.square()) / 100**2 + 0.4 * x_mm / 100
    sinus = torch.exp(-(x_mm.square() + (y_mm + 70).square() + (z_mm + 30) ** 2) / (2 * 30**2))
    return bowl + 1.5 * sinus


def noise_mixing(n_coils: int, generator: torch.Generator) -> torch.Tensor:
    """A (coil, coil) that correlates white noise, scaled to leave unit noise after a matched combination.

    Channels differ in level by up to a factor two and share about a third of their noise amplitude.
    """
    level = 1 + torch.rand(n_coils, generator=generator)
    shared = 0.35 * complex_normal((n_coils, n_coils), generator) / math.sqrt(n_coils)
    mixing = level[:, None] * (torch.eye(n_coils) + shared)
    inverse = torch.linalg.inv(mixing @ mixing.mH)
    return mixing * torch.sqrt(inverse.diagonal().real.mean())


def complex_normal(shape: tuple[int, ...], generator: torch.Generator) -> torch.Tensor:
    """Circular complex normal samples of unit variance."""
    return torch.randn(shape, dtype=torch.complex64, generator=generator)
