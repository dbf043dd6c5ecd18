"""The fully sampled centre of a k-space, from which coils are calibrated."""

import torch

Block = tuple[slice, slice, slice]


def calibration_block(sampled: torch.Tensor) -> Block | None:
    """The largest fully sampled block of k-space about its centre, found by growing it.

    Along kx it takes the samples that all lines have. Along ky and kz it starts at the line nearest to the
    centre (index n // 2 of each axis) and grows by a row at a time on each side in turn, while that row is
    full. What holds the centre is then cut to be symmetric: sample m // 2 of the block is the centre.

    Args:
        sampled: (kz, ky, kx) bool.

    Returns:
        Slices along (kz, ky, kx), None where there is no such block.
    """
    lines = sampled.any(-1)
    where = torch.nonzero(lines)
    if len(where) == 0:
        return None
    along_x = _run_about_centre(sampled[lines].all(0))
    if along_x is None:
        return None
    centre = torch.tensor([n // 2 for n in lines.shape], device=lines.device)
    z, y = where[(where - centre).square().sum(dim=1).argmin()].tolist()
    along_z, along_y = _grown(lines, z, y)
    n_z, n_y, n_x = sampled.shape
    return _centred(along_z, n_z), _centred(along_y, n_y), _centred(along_x, n_x)


def _run_about_centre(sampled: torch.Tensor) -> slice | None:
    """The longest run that holds the centre of a (k,) mask."""
    centre = len(sampled) // 2
    gaps = torch.nonzero(~sampled).flatten()
    before, after = gaps[gaps <= centre], gaps[gaps >= centre]
    start = int(before[-1]) + 1 if len(before) else 0
    stop = int(after[0]) if len(after) else len(sampled)
    return slice(start, stop) if start < stop else None


def _grown(lines: torch.Tensor, z: int, y: int) -> tuple[slice, slice]:
    full = lines.cpu().numpy()
    z0, z1, y0, y1 = z, z + 1, y, y + 1
    growing = True
    while growing:
        before = (z0, z1, y0, y1)
        y0 -= y0 > 0 and bool(full[z0:z1, y0 - 1].all())
        y1 += y1 < full.shape[1] and bool(full[z0:z1, y1].all())
        z0 -= z0 > 0 and bool(full[z0 - 1, y0:y1].all())
        z1 += z1 < full.shape[0] and bool(full[z1, y0:y1].all())
        growing = before != (z0, z1, y0, y1)
    return slice(z0, z1), slice(y0, y1)


def _centred(run: slice, n: int) -> slice:
    centre = n // 2
    if not run.start <= centre < run.stop:
        return run
    half = min(centre - run.start, run.stop - centre)
    return slice(centre - half, centre + half + (run.stop > centre + half))
