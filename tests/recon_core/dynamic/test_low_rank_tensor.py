"""Cores and factors against dense tensors, and what is never made of them."""

from typing import Any

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from recon_core.dynamic.low_rank_tensor import TensorBasis, hosvd, tensor_basis
from recon_core.dynamic.tensor_completion import completed_navigators
from recon_core.errors import InputError


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def orthonormal(n: int, rank: int, seed: int = 0) -> torch.Tensor:
    return torch.linalg.qr(noise(n, rank, seed=seed)).Q


class LargestTensor(TorchDispatchMode):
    """Elements of the largest tensor that anything makes."""

    def __init__(self) -> None:
        super().__init__()
        self.n_elements = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        for item in result if isinstance(result, tuple | list) else [result]:
            if isinstance(item, torch.Tensor):
                self.n_elements = max(self.n_elements, item.numel())
        return result


def test_hosvd_of_full_rank_gives_the_tensor_back_and_of_less_the_best_of_each_unfolding() -> None:
    tensor = noise(5, 4, 6, dtype=torch.complex128)
    core, (first, kept, last) = hosvd(tensor, [5, None, 6])
    assert kept is None
    assert first is not None
    assert last is not None
    torch.testing.assert_close(torch.einsum("abc,ia,kc->ibk", core, first, last), tensor)
    _, (some, _, _) = hosvd(tensor, [2, None, None])
    left = torch.linalg.svd(tensor.reshape(5, -1)).U[:, :2]
    assert some is not None
    torch.testing.assert_close(some @ some.mH, left @ left.mH)
    with pytest.raises(InputError, match="a rank from 1 to 5 along axis 0, got 6"):
        hosvd(tensor, [6, None, None])


def random_basis(shape: tuple[int, ...] = (5, 3, 7), rank: int = 4) -> TensorBasis:
    factors = tuple(orthonormal(n, 3, seed=n) for n in shape)
    return TensorBasis(noise(rank, 3, 3, 3), factors)


def test_readouts_and_frames_are_those_of_the_dense_basis() -> None:
    basis = random_basis()
    dense = torch.einsum("labc,ia,jb,kc->lijk", basis.core, *basis.factors)
    bins = tuple(torch.tensor(index) for index in ([0, 4, 2, 2], [2, 0, 1, 1], [6, 0, 3, 3]))
    torch.testing.assert_close(basis.at(*bins), dense[:, *bins])
    features = noise(4, 1, 6, 5, dtype=torch.complex128)
    series = torch.einsum("lijk,lzyx->ijkzyx", dense.to(features.dtype), features)
    torch.testing.assert_close(basis.frames(features, 1, 2, slice(None)), series[1, 2])
    torch.testing.assert_close(basis.frames(features, slice(1, 4), 0, 5), series[1:4, 0, 5])
    some = torch.tensor([0, 6])
    torch.testing.assert_close(basis.frames(features, slice(None), 1, some), series[:, 1][:, some])
    torch.testing.assert_close(basis.frames(features, 3, 1, 2), series[3, 1, 2])


def test_what_no_bin_or_dimension_has_is_refused() -> None:
    basis, index = random_basis(), torch.zeros(2, dtype=torch.long)
    with pytest.raises(InputError, match="leave out readouts in no bin"):
        basis.at(index - 1, index, index)
    with pytest.raises(InputError, match="leave out readouts in no bin"):
        basis.at(index, index)
    with pytest.raises(InputError, match=r"slice\(None\) takes all"):
        basis.frames(noise(4, 1, 2, 2), 0, 0)


def visited(n_times: int = 1500) -> tuple[list[torch.Tensor], torch.Tensor]:
    """Bins of 10 × 4 × 60 at random, of which a scan sees half; cells of motion (0, 0) never."""
    generator = torch.Generator().manual_seed(0)
    bins = [torch.randint(n, (n_times,), generator=generator) for n in (10, 4)]
    bins[0][(bins[0] == 0) & (bins[1] == 0)] = 1
    return bins, torch.arange(n_times) % 60


def test_completion_finds_what_bins_would_have_held() -> None:
    """A tensor of ranks (6, 3, 2, 3), with 2 % noise, one motion bin in forty empty."""
    contrast = orthonormal(60, 3, seed=3).mT
    truth = torch.einsum(
        "mabe,ia,jb->mije", noise(6, 3, 2, 3), orthonormal(10, 3, seed=1), orthonormal(4, 2, seed=2)
    )
    truth = torch.tensordot(orthonormal(12, 6, seed=4), truth, ([1], [0]))
    motion_bins, inversion_index = visited()
    u = contrast[:, inversion_index]
    clean = torch.einsum("mte,et->tm", truth[:, *motion_bins], u)
    navigators = clean + 0.02 * clean.square().mean().sqrt() * noise(*clean.shape, seed=5)
    completed = completed_navigators(navigators, motion_bins, (10, 4), u, regularisation=0.02)
    assert completed.shape == (12, 10, 4, 3)
    assert float((completed - truth).norm() / truth.norm()) < 0.1
    assert float((completed - truth)[:, 0, 0].norm() / truth[:, 0, 0].norm()) < 0.3, "never visited"
    basis = tensor_basis(completed, contrast, rank=9, motion_ranks=(4, 3))
    assert basis.shape == (10, 4, 60)
    everywhere = torch.cartesian_prod(torch.arange(10), torch.arange(4), torch.arange(60)).unbind(1)
    rows = basis.at(*everywhere)
    torch.testing.assert_close(rows @ rows.mT, torch.eye(9, dtype=rows.dtype))
    signals = torch.einsum("mije,ek->mijk", truth, contrast).flatten(1)
    assert float((signals - signals @ rows.mT @ rows).norm() / signals.norm()) < 0.1
    still = contrast[:, everywhere[2]] / 40**0.5
    torch.testing.assert_close(still @ rows.mT @ rows, still)
    without_motion = tensor_basis(completed, contrast, rank=3, motion_ranks=(1, 1)).at(*everywhere)
    torch.testing.assert_close(still @ without_motion.mT @ without_motion, still)
    with pytest.raises(InputError, match=r"expected a rank from 1 to \d+, .* got 40"):
        tensor_basis(completed, contrast, rank=40, motion_ranks=(4, 3))


def test_navigators_in_no_bin_or_without_one_are_refused() -> None:
    motion_bins, inversion_index = visited(20)
    navigators, u = noise(20, 5), noise(3, 60)[:, inversion_index]
    with pytest.raises(InputError, match="one of each for every navigator"):
        completed_navigators(navigators[:7], motion_bins, (10, 4), u)
    with pytest.raises(InputError, match="leave out navigators in no bin"):
        completed_navigators(navigators, motion_bins, (10, 3), u)


def test_41280_frames_are_never_made() -> None:
    """From navigators to a cardiac cycle nothing is as large as one time course of each voxel."""
    shape, rank, matrix, n_readouts = (20, 6, 344), 32, 40, 9976
    generator = torch.Generator().manual_seed(0)
    bins = [torch.randint(n, (n_readouts,), generator=generator) for n in shape]
    contrast = orthonormal(344, 5).mT.float().contiguous()
    navigators = noise(n_readouts, 48, dtype=torch.float32)
    features = noise(rank, 1, matrix, matrix, dtype=torch.complex64)
    with LargestTensor() as largest:
        tensor = completed_navigators(navigators, bins[:2], shape[:2], contrast[:, bins[2]], n_iterations=3)
        basis = tensor_basis(tensor, contrast, rank=rank, motion_ranks=(10, 4))
        rows = basis.at(*bins)
        cycle = basis.frames(features, slice(None), 0, 343)
    assert rows.shape == (rank, n_readouts)
    assert cycle.shape == (20, 1, matrix, matrix)
    assert largest.n_elements < 41280 * matrix**2 / 4
    assert largest.n_elements <= rank * 4 * 5 * n_readouts, "the basis at the readouts, one motion contracted"
