"""One level of a periodised orthogonal wavelet transform along one axis, as a product with its matrix."""

from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch

BANDED_FROM = 128
"""Lengths below this are faster as one dense product than as a banded one."""


class Level(Protocol):
    """Low-pass, then high-pass coefficients along `axis` of the array rolled by `shift`; and back."""

    def analyse(self, array: torch.Tensor, axis: int, shift: int) -> torch.Tensor: ...

    def synthesise(self, array: torch.Tensor, axis: int, shift: int) -> torch.Tensor: ...


def wavelet_level(length: int, name: str, dtype: torch.dtype, device: torch.device | str) -> Level:
    """The faster form of the level for arrays of this length."""
    import pywt

    filter_length = int(pywt.Wavelet(name).dec_len)
    matrix = torch.from_numpy(_level_matrix(length, name)).to(device, dtype)
    block = _block_length(length)
    return DenseLevel(matrix) if block is None else BandedLevel(matrix, block, filter_length)


class DenseLevel:
    """A product with the whole matrix; a shift chooses among the columns of the matrix written twice."""

    def __init__(self, matrix: torch.Tensor) -> None:
        self.doubled = torch.cat([matrix, matrix], dim=1)

    def analyse(self, array: torch.Tensor, axis: int, shift: int) -> torch.Tensor:
        return _multiply(self._shifted(shift), array, axis)

    def synthesise(self, array: torch.Tensor, axis: int, shift: int) -> torch.Tensor:
        return _multiply(self._shifted(shift).mT, array, axis)

    def _shifted(self, shift: int) -> torch.Tensor:
        length = len(self.doubled)
        return self.doubled.narrow(1, shift % length, length)


class BandedLevel:
    """Products of overlapping windows of the array with the one block the banded matrix repeats.

    With f taps, `block` low-pass and `block` high-pass coefficients come from 2 block + f − 2 samples, and
    2 block samples from block + f/2 coefficients of either kind: for f = 8 and blocks of 16 a seventh of the
    work of a dense product at a length of 256.
    """

    def __init__(self, matrix: torch.Tensor, block: int, filter_length: int) -> None:
        n_pairs = len(matrix) // 2
        self.block, self.overlap = block, filter_length // 2
        # Rolled so that block 0 starts in column 0 with no part of it wrapped around.
        rolled = matrix.roll(self.overlap - 1, 1)
        width = 2 * block + filter_length - 2
        self.analysis = torch.cat([rolled[:block, :width], rolled[n_pairs : n_pairs + block, :width]])
        columns = matrix[:, : 2 * block]
        self.synthesis = [
            half.roll(self.overlap // 2, 0)[: block + self.overlap].mT.contiguous()
            for half in torch.split(columns, n_pairs)
        ]

    def analyse(self, array: torch.Tensor, axis: int, shift: int) -> torch.Tensor:
        n_samples = array.shape[axis]
        padded = _circular(array, axis, 1 - self.overlap - shift, n_samples + 2 * self.overlap - 2)
        pairs = _windows_product(self.analysis, padded, axis, 2 * self.block)
        outer, n_windows, _, inner = pairs.shape
        by_kind = pairs.reshape(outer, n_windows, 2, self.block, inner).transpose(1, 2)
        return _from_windows(by_kind, array.shape, axis)

    def synthesise(self, array: torch.Tensor, axis: int, shift: int) -> torch.Tensor:
        n_pairs = array.shape[axis] // 2
        low_pass, high_pass = (
            _windows_product(
                matrix, _circular(half, axis, -(self.overlap // 2), n_pairs + self.overlap), axis, self.block
            )
            for matrix, half in zip(self.synthesis, torch.split(array, n_pairs, axis), strict=True)
        )
        rolled = _from_windows(low_pass.add_(high_pass), array.shape, axis)
        return _circular(rolled, axis, shift, 2 * n_pairs)


def _block_length(length: int) -> int | None:
    """How many pairs of coefficients to take at once: the divisor of all of them nearest to 16."""
    divisors = [block for block in range(8, 33) if length % (2 * block) == 0]
    if length < BANDED_FROM or not divisors:
        return None
    return min(divisors, key=lambda block: abs(block - 16))


def _level_matrix(length: int, name: str) -> npt.NDArray[np.float64]:
    """The orthogonal matrix of one level: rows of low-pass, then of high-pass, then an odd last sample."""
    import pywt

    n_even = length // 2 * 2
    matrix = np.eye(length)
    low_pass, high_pass = pywt.dwt(np.eye(n_even), name, mode="periodization", axis=0)
    matrix[:n_even, :n_even] = np.concatenate([low_pass, high_pass])
    return matrix


def _multiply(matrix: torch.Tensor, array: torch.Tensor, axis: int) -> torch.Tensor:
    """The product of a matrix with every line of `array` along an axis."""
    if axis == -1:
        return array @ matrix.mT
    if axis == -2:
        return matrix @ array
    product = matrix @ array.flatten(-2)
    return product.reshape(*product.shape[:-1], *array.shape[-2:])


def _circular(array: torch.Tensor, axis: int, start: int, length: int) -> torch.Tensor:
    """`length` samples from `start` on, going around."""
    whole = array.shape[axis]
    if start % whole == 0 and length == whole:
        return array
    pieces = []
    while length > 0:
        start %= whole
        n_taken = min(whole - start, length)
        pieces.append(array.narrow(axis, start, n_taken))
        start, length = start + n_taken, length - n_taken
    return torch.cat(pieces, dim=axis)


def _windows_product(matrix: torch.Tensor, padded: torch.Tensor, axis: int, step: int) -> torch.Tensor:
    """The matrix times each window of its width, `step` apart: (outer, window, row of the matrix, inner).

    Along the last axis the transposed product is made, so that nothing has to be transposed in memory.
    """
    if axis == -1:
        windows = padded.reshape(1, -1, padded.shape[-1]).unfold(-1, matrix.shape[1], step).transpose(1, 2)
        return torch.matmul(windows, matrix.mT.expand(*windows.shape[:2], -1, -1)).mT
    outer = padded.shape[:axis].numel()
    windows = padded.reshape(outer, padded.shape[axis], -1).unfold(1, matrix.shape[1], step).mT
    return torch.matmul(matrix.expand(*windows.shape[:2], -1, -1), windows)


def _from_windows(array: torch.Tensor, shape: torch.Size, axis: int) -> torch.Tensor:
    """(outer, …, inner) with the transformed axis in several between, to `shape`."""
    return (array.movedim(-1, 1) if axis == -1 else array).reshape(shape)
