"""The area or volume of k-space that each non-Cartesian sample stands for."""

import math

import torch

from recon_core.nufft import Nufft, Shape
from recon_core.toeplitz import doubled

SAME_ANGLE_RAD = 1e-4
"""Readouts closer than this repeat one another and share what they sweep."""
SAME_PLANE = 1e-2
"""Steps of kz that make no difference."""


def swept_density(trajectory: torch.Tensor) -> torch.Tensor:
    """Weights in closed form for readouts that leave the centre and differ by a rotation: spokes, spirals.

    Turning a readout sweeps the plane, dA = r |dr| dφ, whatever its shape (as for spirals in Hoge et al.
    1997, doi:10.1002/mrm.1910380117): a sample stands for w = ½ |Δr²| φ, Δr² between the midpoints to its
    neighbours, φ from half the way to the readout before to half the way to the one after. A readout through
    the centre counts as two. Where they fill three dimensions w = ⅓ |Δr³| Ω, with one solid angle Ω for all;
    where each keeps to its kz they are a stack of planes, swept one by one.

    Args:
        trajectory: (readout, sample, 2 or 3), cycles per field of view.

    Returns:
        (readout, sample) float32, in cells of the Cartesian grid: with these weights Fᴴ W F is nearly one.
    """
    k = trajectory.double()
    kz = k[..., 2:]
    if bool(((kz - kz[:, :1]).abs() > SAME_PLANE).any()):
        n_rays = _is_ray(k).sum()
        return _swept(k, torch.full((len(k), 2), 4 * math.pi / float(n_rays), dtype=k.dtype, device=k.device))
    weights = torch.empty(k.shape[:-1], dtype=k.dtype, device=k.device)
    planes = (kz[:, 0].sum(-1) / SAME_PLANE).round()
    for plane in torch.unique(planes):
        own = planes == plane
        weights[own] = _swept(k[own, :, :2], _sectors(k[own, :, :2])).double()
    return weights.float()


def pipe_menon(trajectory: torch.Tensor, shape: Shape, *, n_iterations: int = 15) -> torch.Tensor:
    """Weights of any trajectory, by iteration: w ← w / (w ⊗ C).

    Pipe & Menon 1999, doi:10.1002/(SICI)1522-2594(199901)41:1<179::AID-MRM25>3.0.CO;2-V. C is the squared
    transform of a disc (ball) as wide as the field of view, positive as it has to be (Johnson & Pipe 2009,
    doi:10.1002/mrm.21922). Here it is not cut off: its own transform is the disc's autocorrelation, so that
    an iteration is an adjoint and a forward transform on a grid of twice the size.

    Args:
        trajectory: (readout, sample, 2 or 3), cycles per field of view.
        shape: (z, y, x) of the images.
        n_iterations: more of them change little.

    Returns:
        (readout, sample) float32, in cells of the Cartesian grid.
    """
    grid = doubled(shape)
    enlarged = trajectory.new_tensor([m / n for m, n in zip(grid, shape, strict=True)][::-1])
    nufft_op = Nufft(trajectory * enlarged[: trajectory.shape[-1]], grid)
    window = (_disc_autocorrelation(shape) * (math.prod(grid) / math.prod(shape))).to(trajectory.device)
    weights = torch.ones(trajectory.shape[:-1], device=trajectory.device)
    for _ in range(n_iterations):
        density = nufft_op(nufft_op.H(weights.to(torch.complex64)) * window).real
        weights = weights / density.clamp_min(1e-6 * float(density.max()))
    return weights


def _is_ray(k: torch.Tensor) -> torch.Tensor:
    """(readout, 2): whether a readout reaches out before, and after, its sample nearest to the centre."""
    nearest = k.norm(dim=-1).argmin(1)
    return torch.stack([nearest > 0, nearest < k.shape[1] - 1], dim=1)


def _swept(k: torch.Tensor, sectors: torch.Tensor) -> torch.Tensor:
    """What samples (readout, sample, d) sweep where their two rays turn by `sectors` (readout, 2)."""
    n_samples, n_dimensions = k.shape[1:]
    midpoints = (k[:, 1:] + k[:, :-1]) / 2
    ends = [(3 * k[:, :1] - k[:, 1:2]) / 2, (3 * k[:, -1:] - k[:, -2:-1]) / 2]
    reach = torch.cat([ends[0], midpoints, ends[1]], dim=1).norm(dim=-1)
    enclosed: torch.Tensor = reach.pow(n_dimensions) / n_dimensions
    before, after = enclosed[:, :-1], enclosed[:, 1:]
    from_centre = torch.arange(n_samples, device=k.device) - k.norm(dim=-1).argmin(1)[:, None]
    inwards = torch.where(from_centre == 0, before, before - after) * (from_centre <= 0)
    outwards = torch.where(from_centre == 0, after, after - before) * (from_centre >= 0)
    sectors = sectors * _is_ray(k)
    swept: torch.Tensor = inwards.abs() * sectors[:, :1] + outwards.abs() * sectors[:, 1:]
    return swept.float()


def _sectors(k: torch.Tensor) -> torch.Tensor:
    """(readout, 2): the angle about each ray's end that is nearer to it than to the next ones."""
    is_ray = _is_ray(k)
    ends = torch.stack([k[:, 0], k[:, -1]], dim=1)
    angles = torch.atan2(ends[..., 1], ends[..., 0])[is_ray]
    in_order, order = angles.sort()
    steps = torch.diff(in_order, append=in_order[:1] + 2 * math.pi)
    number = torch.cat([steps.new_zeros(1), (steps[:-1] > SAME_ANGLE_RAD).cumsum(0)]).long()
    n_alike = torch.bincount(number).double()
    width = (steps + steps.roll(1)) / 2
    shared = torch.zeros_like(n_alike).index_add_(0, number, width) / n_alike
    sectors = torch.zeros_like(ends[..., 0])
    sectors[is_ray] = torch.empty_like(angles).scatter_(0, order, shared[number])
    return sectors


def _disc_autocorrelation(shape: Shape) -> torch.Tensor:
    """Of a disc or ball as wide as the field of view, on the grid of twice the size; 1 in the centre."""
    squared = torch.zeros(())
    for n, m in zip(shape, doubled(shape), strict=True):
        position = (torch.arange(m) - m // 2) / n
        squared = squared[..., None] + position.square()
    d = squared.sqrt().clamp(max=1)
    n_dimensions = sum(n > 1 for n in shape)
    if n_dimensions == 3:
        ball: torch.Tensor = 1 - 1.5 * d + 0.5 * d.pow(3)
        return ball
    disc: torch.Tensor = 2 / math.pi * (torch.acos(d) - d * (1 - d.square()).sqrt())
    return disc
