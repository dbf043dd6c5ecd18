"""The windows of a fully sampled block, that kernels are fitted to, and their normal matrix."""

from collections.abc import Sequence
from itertools import combinations, combinations_with_replacement

import torch


def lines_at(
    block: torch.Tensor, starts: Sequence[tuple[int, int]], n_windows: tuple[int, int]
) -> torch.Tensor:
    """(*batch, kx, window, position · coil): the line at each position of a window, for every window.

    Args:
        block: (*batch, coil, kz, ky, kx).
        starts: (kz, ky) of each position in the first window.
        n_windows: along (kz, ky).
    """
    lines = [block[..., z : z + n_windows[0], y : y + n_windows[1], :].flatten(-3, -2) for z, y in starts]
    return torch.stack(lines, dim=-4).movedim((-1, -2), (-4, -3)).flatten(-2).contiguous()


def window_gram(lines: torch.Tensor, n_kx: int) -> torch.Tensor:
    """AᴴA of the windows of `n_kx` samples along kx: (*batch, kx · position · coil, the same).

    A has a row for every window. Built from lags: the block (i+1, j+1) of two samples along kx is block
    (i, j) with one window column dropped in front and one added behind, so only the blocks (0, j) need the
    whole data.

    Args:
        lines: from `lines_at`.
        n_kx: samples of a window along kx.
    """
    n_columns, n_sources = lines.shape[-3] - n_kx + 1, lines.shape[-1]
    first = lines[..., :n_columns, :, :].flatten(-3, -2).mH
    columns = lines.unbind(-3)
    gram = lines.new_zeros((*lines.shape[:-3], n_kx, n_kx, n_sources, n_sources))
    for j in range(n_kx):
        gram[..., 0, j, :, :] = first @ lines[..., j : j + n_columns, :, :].flatten(-3, -2)
    for i, j in combinations_with_replacement(range(1, n_kx), 2):
        dropped = columns[i - 1].mH @ columns[j - 1]
        added = columns[n_columns + i - 1].mH @ columns[n_columns + j - 1]
        gram[..., i, j, :, :] = gram[..., i - 1, j - 1, :, :] - dropped + added
    for i, j in combinations(range(n_kx), 2):
        gram[..., j, i, :, :] = gram[..., i, j, :, :].mH
    return gram.transpose(-3, -2).flatten(-2).flatten(-3, -2)
