"""Regular undersampling: which (kz, ky) positions form a lattice, and how far apart its lines lie."""

import torch

MAX_ACCELERATION = 8
"""Along one axis; sparser lattices are not told apart from irregular sampling."""

NEARLY = 0.75
"""Share of a lattice that an interrupted or faulty scan must have for the rest to count as missing."""


def regular_acceleration(sampled: torch.Tensor) -> tuple[int, int] | None:
    """The acceleration (Rz, Ry) of a regular sampling pattern, with or without a calibration block inside.

    The pattern is regular when its lattice has no gap along either axis (its outline may be
    partial or elliptic) and everything sampled off the lattice fills one block.

    Args:
        sampled: (kz, ky) bool.

    Returns:
        (1, 1) for full sampling, None for an irregular pattern.
    """
    candidates = [(rz, ry) for rz in _strides(sampled.shape[0]) for ry in _strides(sampled.shape[1])]
    for acceleration in sorted(candidates, key=lambda rate: rate[0] * rate[1]):
        if _is_regular(sampled, acceleration):
            return acceleration
    return None


def is_nearly_regular(sampled: torch.Tensor, acceleration: tuple[int, int]) -> bool:
    """Whether `NEARLY` all of the lattice is there, from its first to its last line along each axis."""
    z, y = lattice_offset(sampled, acceleration)
    lattice = sampled[z :: acceleration[0], y :: acceleration[1]]
    where = torch.nonzero(lattice)
    if len(where) == 0:
        return False
    return len(where) >= NEARLY * int((where.amax(dim=0) - where.amin(dim=0) + 1).prod())


def lattice_offset(sampled: torch.Tensor, acceleration: tuple[int, int]) -> tuple[int, int]:
    """The residues (z, y) of the lattice lines: of all shifts, the one that holds the most samples."""
    rz, ry = acceleration
    nz, ny = sampled.shape
    cells = torch.nn.functional.pad(sampled, (0, -ny % ry, 0, -nz % rz)).float()
    counts = cells.view(-1, rz, cells.shape[1] // ry, ry).sum(dim=(0, 2))
    best = int(counts.argmax())
    return best // ry, best % ry


def lattice_mask(sampled: torch.Tensor, acceleration: tuple[int, int]) -> torch.Tensor:
    """The (kz, ky) bool mask of the samples on the lattice: `sampled` without calibration lines between."""
    z, y = lattice_offset(sampled, acceleration)
    mask = torch.zeros_like(sampled)
    mask[z :: acceleration[0], y :: acceleration[1]] = True
    return mask & sampled


def _strides(n: int) -> range:
    return range(1, min(n, MAX_ACCELERATION) + 1)


def _is_regular(sampled: torch.Tensor, acceleration: tuple[int, int]) -> bool:
    z, y = lattice_offset(sampled, acceleration)
    lines = sampled[z :: acceleration[0], y :: acceleration[1]]
    if not _has_no_gap(lines) or not _has_no_gap(lines.T):
        return False
    return bool(lines.any()) and fills_a_block(sampled, sampled & ~lattice_mask(sampled, acceleration))


def fills_a_block(sampled: torch.Tensor, between: torch.Tensor) -> bool:
    """Whether every row and column is full from the first to the last of `between`, both `(kz, ky)` bool.

    A calibration block is so, be it cut or elliptic; lines left between a lattice's by chance are not.
    """
    spanned = _from_first_to_last(between, 0) | _from_first_to_last(between, 1)
    return bool((sampled | ~spanned).all())


def _from_first_to_last(mask: torch.Tensor, axis: int) -> torch.Tensor:
    begun = mask.int().cumsum(axis) > 0
    not_over = mask.int().flip(axis).cumsum(axis).flip(axis) > 0
    return begun & not_over


def _has_no_gap(lines: torch.Tensor) -> bool:
    """Whether the samples of every row are consecutive."""
    rises = lines[:, 1:] & ~lines[:, :-1]
    return bool(((lines[:, 0].long() + rises.sum(dim=1)) <= 1).all())
