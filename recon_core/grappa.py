"""GRAPPA: missing k-space lines as a linear combination of their acquired neighbours in every coil.

Griswold et al. 2002, doi:10.1002/mrm.10171; undersampling along two axes: Blaimer et al. 2006,
doi:10.1002/mrm.20803; the same weights as unmixing coefficients in image space: Breuer et al. 2009,
doi:10.1002/mrm.22066.

Sources and targets: around a lattice line at p, sources lie at p + j·R with j = −(n−1)//2 … n//2, and
targets at p + d with 0 ≤ d < R, d ≠ 0, along kz and ky alike. Along kx, n samples are centred on the target.
"""

from dataclasses import dataclass
from itertools import product

import torch

from recon_core.coils.neighbourhoods import lines_at, window_gram
from recon_core.errors import CalibrationError, InputError
from recon_core.fourier import ifft, shift_phases
from recon_core.lattice import lattice_mask, lattice_offset

CHUNK = 4096
"""Windows filled at a time: their sources of all coils stay in the processor's cache."""

UNMIXING_CHUNK = 1 << 17
"""Products of coil map and step made at a time for unmixing coefficients, for the same reason."""


@dataclass(frozen=True)
class GrappaWeights:
    """Calibrated weights, for any number of repetitions of one coil array, slice and acceleration."""

    kernel: torch.Tensor
    """(target, target coil, source coil, kz, ky, kx); target t is d = divmod(t + 1, Ry)."""

    acceleration: tuple[int, int]
    """(Rz, Ry)."""


def grappa_weights(
    calibration: torch.Tensor,
    acceleration: tuple[int, int],
    *,
    kernel: tuple[int, int, int] = (4, 4, 5),
    regularisation: float = 5e-4,
) -> GrappaWeights:
    """Weights W = (SᴴS + λI)⁻¹ SᴴT from every window of a fully sampled block, λ = regularisation·tr(SᴴS)/n.

    Args:
        calibration: (coil, kz, ky, kx), fully sampled; best noise-whitened.
        acceleration: (Rz, Ry).
        kernel: sources along (kz, ky, kx); one along kz where Rz is one. kx odd.
        regularisation: Tikhonov weight, relative to the mean power of a source.

    Raises:
        CalibrationError: the block holds no whole window.
        InputError: the kernel or the acceleration cannot be used.
    """
    rates = (*acceleration, 1)
    shape = (1 if acceleration[0] == 1 else kernel[0], *kernel[1:])
    if min(*shape, *rates) < 1 or shape[2] % 2 == 0 or calibration.ndim != 4:
        raise InputError(
            "grappa_weights: expected calibration (coil, kz, ky, kx), a positive acceleration and a positive "
            f"kernel, odd along kx, got {tuple(calibration.shape)}, {acceleration} and {kernel}"
        )
    extent = tuple(_extent(n, rate) for n, rate in zip(shape[:2], acceleration, strict=True))
    needed = (*extent, shape[2])
    if any(have < need for have, need in zip(calibration.shape[1:], needed, strict=True)):
        raise CalibrationError(
            f"grappa_weights: expected at least (kz, ky, kx) = {needed} calibration samples for acceleration "
            f"{acceleration} and kernel {shape}, got {tuple(calibration.shape[1:])}; acquire more "
            "reference lines or choose a smaller kernel"
        )
    n_coils, n_targets = calibration.shape[0], acceleration[0] * acceleration[1] - 1
    n_windows = (calibration.shape[1] - extent[0] + 1, calibration.shape[2] - extent[1] + 1)
    sources = [(a * rates[0], b * rates[1]) for a, b in product(range(shape[0]), range(shape[1]))]
    base = tuple((n - 1) // 2 * rate for n, rate in zip(shape[:2], acceleration, strict=True))
    targets = [(base[0] + dz, base[1] + dy) for dz, dy in _target_offsets(acceleration)]

    solution = _solve(
        lines_at(calibration, sources, n_windows),
        lines_at(calibration, targets, n_windows),
        shape[2],
        regularisation,
    )
    weights = solution.view(shape[2], *shape[:2], n_coils, n_targets, n_coils)
    return GrappaWeights(weights.permute(4, 5, 3, 1, 2, 0).contiguous(), acceleration)


def apply_grappa(weights: GrappaWeights, kspace: torch.Tensor, sampled: torch.Tensor) -> torch.Tensor:
    """Fill the missing lines of k-space; acquired samples, calibration lines too, stay as they are.

    Lines outside the sampled outline (partial Fourier) stay zero, but for the R − 1 next to it. Sources
    beyond the edges of k-space count as zero.

    Args:
        weights: of this coil array and acceleration.
        kspace: (*batch, coil, kz, ky, kx).
        sampled: (kz, ky) bool; the lattice's offset is found from it.

    Raises:
        InputError: coils or sampling do not match.
    """
    _require_matching("apply_grappa", weights, kspace, sampled)
    lattice = lattice_mask(sampled, weights.acceleration)
    reach = tuple(2 * rate - 1 for rate in weights.acceleration)
    padding = tuple(rate - 1 for rate in weights.acceleration)
    near = torch.nn.functional.max_pool2d(lattice[None].to(kspace.real.dtype), reach, 1, padding)[0] > 0
    offset = lattice_offset(sampled, weights.acceleration)
    filled = torch.stack(
        [_filled(weights, one * lattice[..., None], offset) for one in kspace.reshape(-1, *kspace.shape[-4:])]
    ).view_as(kspace)
    return torch.where(sampled[..., None], kspace, filled * near[..., None])


def unmixing(weights: GrappaWeights, coil_maps: torch.Tensor) -> torch.Tensor:
    """GRAPPA and coil combination as one weight per coil and voxel: u_c = Σ_c' conj(S_c')·W_c'c.

    W_c'c(r) = δ_c'c + Σ_o w_c'c(o)·e^(−2πi o·r) is the kernel in image space, o the steps from target to
    source. The image is Σ_c u_c·a_c, a the aliased coil images: see `unmix`. Equal to `apply_grappa` but
    for the edges of k-space, which wrap around, and the lines measured between those of the lattice, which
    are not used: see `measured_between`.

    Args:
        weights: of this coil array.
        coil_maps: (coil, z, y, x) on the full grid; their square sum scales the image.

    Returns:
        (coil, z, y, x).
    """
    n_coils, n_z, n_y, n_x = coil_maps.shape
    kernel = weights.kernel.to(coil_maps.dtype)
    steps_z, steps_y = (_steps(weights, axis, coil_maps) for axis in (0, 1))
    half_x = kernel.shape[-1] // 2
    turn_x = shift_phases(torch.arange(-half_x, half_x + 1, device=coil_maps.device), n_x, coil_maps)
    # (x, target coil · step, coil), the steps along kz and ky of all targets taken together.
    along_x = torch.einsum("tdsabk,kx->xdtabs", kernel, turn_x).flatten(1, 4).view(n_x, -1, n_coils)
    turn_zy = (
        shift_phases(steps_z, n_z, coil_maps)[:, :, None] * shift_phases(steps_y, n_y, coil_maps)[:, None, :]
    )

    conjugate = coil_maps.conj().permute(3, 1, 2, 0).reshape(n_x, n_z * n_y, n_coils, 1)
    turn_zy = turn_zy.flatten(1).T[:, None, :].contiguous()
    mixed = torch.empty_like(conjugate[..., 0])
    rows = max(1, UNMIXING_CHUNK // (n_coils * turn_zy.shape[-1]))
    columns = max(1, rows // (n_z * n_y))
    for first_x in range(0, n_x, columns):
        at_x = slice(first_x, first_x + columns)
        for first in range(0, n_z * n_y, rows):
            at_zy = slice(first, first + rows)
            turned = conjugate[at_x, at_zy] * turn_zy[at_zy]
            mixed[at_x, at_zy] = turned.flatten(2) @ along_x[at_x]
    return coil_maps.conj() + mixed.view(n_x, n_z, n_y, n_coils).permute(3, 1, 2, 0)


def unmix(
    coefficients: torch.Tensor, kspace: torch.Tensor, sampled: torch.Tensor, acceleration: tuple[int, int]
) -> torch.Tensor:
    """The combined image (*batch, z, y, x) = Σ_c u_c·F⁻¹(lattice lines of k-space)_c.

    Args:
        coefficients: (coil, z, y, x) from `unmixing`.
        kspace: (*batch, coil, kz, ky, kx).
        sampled: (kz, ky) bool.
        acceleration: (Rz, Ry) the coefficients were made for.
    """
    lattice = lattice_mask(sampled, acceleration)
    return (coefficients * ifft(kspace * lattice[..., None])).sum(dim=-4)


def measured_between(
    weights: GrappaWeights, kspace: torch.Tensor, sampled: torch.Tensor
) -> torch.Tensor | None:
    """Measured less calculated k-space of the lines acquired off the lattice, calibration lines as a rule:
    what is still to be added to the coils' k-space behind `unmix`.

    Calculated as there, wrapping around, but for the block alone that these lines lie in.

    Args:
        weights: of this coil array and acceleration, which divides the matrix.
        kspace: (coil, kz, ky, kx).
        sampled: (kz, ky) bool.

    Returns:
        (coil, kz, ky, kx), zero elsewhere; None where all lines lie on the lattice.
    """
    _require_matching("measured_between", weights, kspace, sampled)
    lattice = lattice_mask(sampled, weights.acceleration)
    between = sampled & ~lattice
    places = torch.nonzero(between)
    if len(places) == 0:
        return None
    of_grid, around, offset = lattice_offset(sampled, weights.acceleration), [], []
    for axis, rate in enumerate(weights.acceleration):
        first, last = int(places[:, axis].min()), int(places[:, axis].max())
        reach = weights.kernel.shape[3 + axis] // 2 * rate + rate - 1  # of any source from its target
        rows = torch.arange(first - reach, last + 1 + reach, device=kspace.device)
        around.append(
            (rows % kspace.shape[1 + axis], slice(first, last + 1), slice(reach, len(rows) - reach))
        )
        offset.append((of_grid[axis] - int(rows[0])) % rate)
    (rows_z, z, inner_z), (rows_y, y, inner_y) = around
    half_x = weights.kernel.shape[5] // 2
    sources = kspace[:, rows_z][:, :, rows_y] * lattice[rows_z][:, rows_y, None]
    sources = torch.cat([sources[..., -half_x:], sources, sources[..., :half_x]], -1) if half_x else sources
    calculated = _filled(weights, sources, (offset[0], offset[1]))
    calculated = calculated[:, inner_z, inner_y, half_x : half_x + kspace.shape[-1]]
    missed = torch.zeros_like(kspace)
    missed[:, z, y] = (kspace[:, z, y] - calculated) * between[z, y, None]
    return missed


def _extent(n_sources: int, rate: int) -> int:
    """Lines from the first to the last of a window's sources and targets."""
    return max((n_sources - 1) * rate, (n_sources - 1) // 2 * rate + rate - 1) + 1


def _target_offsets(acceleration: tuple[int, int]) -> list[tuple[int, int]]:
    return list(product(range(acceleration[0]), range(acceleration[1])))[1:]


def _solve(sources: torch.Tensor, targets: torch.Tensor, n_kx: int, regularisation: float) -> torch.Tensor:
    """Least-squares weights (kx · position · coil, target · coil) over every window along kx."""
    n_columns = sources.shape[0] - n_kx + 1
    centred = targets[n_kx // 2 : n_kx // 2 + n_columns].flatten(0, 1)
    right = torch.cat([sources[i : i + n_columns].flatten(0, 1).mH @ centred for i in range(n_kx)])

    # Solved in double precision: the condition number is that of the data, squared.
    normal = window_gram(sources, n_kx).to(torch.complex128)
    power = normal.diagonal().real.mean()
    if not (torch.isfinite(power) and power > 0):
        raise CalibrationError(
            "grappa_weights: expected calibration data with signal, got zeros, NaN or infinities"
        )
    normal.diagonal().add_(regularisation * power)
    solution, failed = torch.linalg.solve_ex(normal, right.to(torch.complex128))
    if int(failed):
        raise CalibrationError(
            "grappa_weights: the calibration data leave the weights open; raise regularisation"
        )
    weights: torch.Tensor = solution.to(sources.dtype)
    return weights


def _filled(weights: GrappaWeights, kspace: torch.Tensor, offset: tuple[int, int]) -> torch.Tensor:
    """Every line of one (coil, kz, ky, kx), from its lattice lines alone."""
    n_coils, *grid = kspace.shape
    kernel, rates = weights.kernel, weights.acceleration
    shape = kernel.shape[-3:]
    lines = kspace[:, offset[0] :: rates[0], offset[1] :: rates[1]]
    # One cell more in front: the lines before the first lattice line belong to it.
    cells = [n + 1 for n in lines.shape[1:3]]
    before = [(shape[0] - 1) // 2 + 1, (shape[1] - 1) // 2 + 1, shape[2] // 2]
    after = [shape[0] // 2, shape[1] // 2, shape[2] // 2]
    padding = [amount for axis in (2, 1, 0) for amount in (before[axis], after[axis])]
    padded = torch.nn.functional.pad(lines, padding)
    estimates = _convolved(kernel, padded)[..., : cells[0], : cells[1], : grid[2]]

    blocks = kspace.new_zeros((n_coils, cells[0], rates[0], cells[1], rates[1], grid[2]))
    for (dz, dy), estimate in zip(_target_offsets(rates), estimates, strict=True):
        blocks[:, :, dz, :, dy] = estimate
    first = [rate - start for rate, start in zip(rates, offset, strict=True)]
    whole = blocks.view(n_coils, cells[0] * rates[0], cells[1] * rates[1], grid[2])
    return whole[:, first[0] : first[0] + grid[0], first[1] : first[1] + grid[1]]


def _convolved(kernel: torch.Tensor, padded: torch.Tensor) -> torch.Tensor:
    """(target, coil, *padded grid): the kernel's sum over the window that starts at each position.

    On the flattened grid every source of a window is a shifted view, so nothing is gathered.
    """
    n_targets, n_coils = kernel.shape[:2]
    strides = (padded.shape[2] * padded.shape[3], padded.shape[3], 1)
    positions = list(product(*(range(n) for n in kernel.shape[-3:])))
    shifts = [sum(i * stride for i, stride in zip(position, strides, strict=True)) for position in positions]
    flat = padded.flatten(1)
    matrices = [kernel[:, :, :, a, b, k].flatten(0, 1) for a, b, k in positions]
    result = flat.new_zeros((n_targets * n_coils, flat.shape[1]))
    n_starts = flat.shape[1] - max(shifts)
    for start in range(0, n_starts, CHUNK):
        stop = min(start + CHUNK, n_starts)
        part = result[:, start:stop]
        for matrix, shift in zip(matrices, shifts, strict=True):
            part.addmm_(matrix, flat[:, start + shift : stop + shift])
    return result.view(n_targets, n_coils, *padded.shape[1:])


def _steps(weights: GrappaWeights, axis: int, like: torch.Tensor) -> torch.Tensor:
    """Steps (target · kz · ky) along kz (axis 0) or ky (axis 1) from each target to each of its sources."""
    n_z, n_y = weights.kernel.shape[3:5]
    steps = [
        tuple(
            (i - (n - 1) // 2) * rate - d
            for i, n, rate, d in zip(source, (n_z, n_y), weights.acceleration, target, strict=True)
        )
        for target in _target_offsets(weights.acceleration)
        for source in product(range(n_z), range(n_y))
    ]
    return torch.tensor(steps, device=like.device)[:, axis]


def _require_matching(
    where: str, weights: GrappaWeights, kspace: torch.Tensor, sampled: torch.Tensor
) -> None:
    n_coils = weights.kernel.shape[1]
    if kspace.ndim < 4 or kspace.shape[-4] != n_coils or kspace.shape[-3:-1] != sampled.shape:
        raise InputError(
            f"{where}: expected k-space (*batch, {n_coils}, {sampled.shape[0]}, {sampled.shape[1]}, kx), "
            f"got {tuple(kspace.shape)}; calibrate on the same coils and give the pattern of this k-space"
        )
