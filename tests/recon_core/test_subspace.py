"""Encoding, normal operator and backprojection in a temporal subspace, against SigPy, BART and dense sums."""

import math
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch

from recon_core import fourier
from recon_core.errors import InputError
from recon_core.feature_kernel import KernelSums, mixed_kernel
from recon_core.feature_sums import FeatureSums
from recon_core.rotated_readouts import rotated_readouts
from recon_core.simulate import loop_coil_maps
from recon_core.solve.conjugate_gradient import conjugate_gradient
from recon_core.subspace import SubspaceNormal, SubspaceOperator, subspace_backprojection
from recon_core.testing import assert_linear_operator
from recon_core.trajectories import directions, golden_angle, radial

RunBart = Callable[..., list[torch.Tensor]]
ANY_AND_ROTATED = pytest.mark.parametrize("is_rotated", [False, True])
REAL_AND_COMPLEX = pytest.mark.parametrize("is_real", [True, False])


def noise(*shape: int, dtype: torch.dtype = torch.complex128, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def golden_spokes(n_readouts: int, n_samples: int, matrix: int) -> torch.Tensor:
    angles_rad = torch.arange(n_readouts, dtype=torch.float64) * golden_angle()
    return radial(directions(angles_rad), n_samples, spacing=matrix / n_samples)


def some_basis(
    rank: int, n_readouts: int, is_real: bool, dtype: torch.dtype = torch.complex128
) -> torch.Tensor:
    return noise(rank, n_readouts, dtype=dtype.to_real() if is_real else dtype, seed=2)


def smooth_features(rank: int, matrix: int) -> torch.Tensor:
    """(L, 1, y, x): a third of the resolution, within a Gaussian of 0.15 fields of view."""
    centre = fourier.ifft(fourier.resize(noise(rank, 1, matrix // 3, matrix // 3), (1, matrix, matrix)))
    r = (torch.arange(matrix, dtype=torch.float64) - matrix // 2) / matrix
    return (centre * torch.exp(-(r[:, None].square() + r.square()) / (2 * 0.15**2))).to(torch.complex64)


def relative(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


@REAL_AND_COMPLEX
@pytest.mark.parametrize("shape", [(1, 9, 8), (5, 4, 6)])
def test_encoding_obeys_the_laws_of_operators_and_its_normal_is_toeplitz(
    shape: tuple[int, int, int], is_real: bool
) -> None:
    extent = torch.tensor(shape[::-1], dtype=torch.float64)
    trajectory = (
        torch.rand(11, 7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.5
    ) * extent
    encoding_op = SubspaceOperator(trajectory, some_basis(3, 11, is_real), noise(4, *shape))
    assert isinstance(encoding_op.normal, SubspaceNormal)
    assert_linear_operator(encoding_op, (3, *shape))


@REAL_AND_COMPLEX
def test_encoding_is_the_sum_over_features_voxels_and_coils(is_real: bool) -> None:
    trajectory, basis = golden_spokes(5, 6, 4), some_basis(2, 5, is_real)
    maps, features = noise(3, 1, 4, 4), noise(2, 1, 4, 4, seed=1)
    r = torch.arange(4, dtype=torch.float64) - 2
    phase = (trajectory[..., 0, None, None] * r + trajectory[..., 1, None, None] * r[:, None]) / 4
    fourier = torch.exp(-2j * math.pi * phase) / 4
    expected = torch.einsum("lr,rsyx,cyx,lyx->crs", basis.to(maps.dtype), fourier, maps[:, 0], features[:, 0])
    torch.testing.assert_close(SubspaceOperator(trajectory, basis, maps)(features), expected)


@REAL_AND_COMPLEX
def test_many_golden_angle_readouts_have_the_adjoint_and_normal_of_the_sums(is_real: bool) -> None:
    trajectory = golden_spokes(900, 32, 16)
    basis = some_basis(3, 900, is_real, torch.complex64)
    maps, features = (noise(n, 1, 16, 16, dtype=torch.complex64) for n in (4, 3))
    assert rotated_readouts(trajectory, (1, 16, 16)) is not None
    encoding_op = SubspaceOperator(trajectory, basis, maps)
    data = encoding_op(features)
    other = noise(*data.shape, dtype=torch.complex64)
    mismatch = torch.vdot(data.flatten(), other.flatten()) - torch.vdot(
        features.flatten(), encoding_op.H(other).flatten()
    )
    assert float(mismatch.abs()) < 1e-5 * float(data.norm() * other.norm())
    assert relative(encoding_op.normal(features), encoding_op.H(data)) < 2e-5


@REAL_AND_COMPLEX
@pytest.mark.parametrize("n_readouts", [40, 900])
def test_backprojection_agrees_with_sigpy_to_1e_4(n_readouts: int, is_real: bool) -> None:
    trajectory = golden_spokes(n_readouts, 48, 24)
    basis = some_basis(3, n_readouts, is_real, torch.complex64)
    kspace, maps = noise(4, n_readouts, 48, dtype=torch.complex64), noise(4, 1, 24, 24, dtype=torch.complex64)
    weights = trajectory.norm(dim=-1).float() + 0.1
    ours, theirs = (
        subspace_backprojection(kspace, trajectory, basis, maps, weights=weights, backend=backend)
        for backend in ("torch", "sigpy")
    )
    assert relative(ours, theirs) < 1e-4


@REAL_AND_COMPLEX
@ANY_AND_ROTATED
def test_blocks_of_readouts_add_up_to_the_whole_scan(is_rotated: bool, is_real: bool) -> None:
    trajectory = golden_spokes(60, 16, 8)
    basis, kspace = some_basis(3, 60, is_real), noise(2, 60, 16)
    weights = trajectory[0].norm(dim=-1)
    shape = (1, 8, 8)
    rotated = rotated_readouts(trajectory, shape) if is_rotated else None
    assert (rotated is not None) == is_rotated
    whole, blocks = ((FeatureSums(shape, rotated), KernelSums(shape, rotated, weights)) for _ in range(2))
    for (features, kernels), cuts in ((whole, [0, 60]), (blocks, [0, 1, 20, 33, 60])):
        for begin, end in pairwise(cuts):
            part = slice(begin, end)
            features.add(kspace[:, part], trajectory[part], basis[:, part])
            kernels.add(trajectory[part], basis[:, part])
    torch.testing.assert_close(blocks[0].images(), whole[0].images())
    torch.testing.assert_close(blocks[1].kernel(), whole[1].kernel())


@ANY_AND_ROTATED
def test_weighted_kernel_is_that_of_weighted_readouts(is_rotated: bool) -> None:
    trajectory, basis, maps = golden_spokes(60, 16, 8), some_basis(3, 60, True), noise(2, 1, 8, 8)
    weights = trajectory[0].norm(dim=-1) + 0.2
    rotated = rotated_readouts(trajectory, (1, 8, 8)) if is_rotated else None
    kernels = KernelSums((1, 8, 8), rotated, weights)
    kernels.add(trajectory, basis)
    encoding_op, features = SubspaceOperator(trajectory, basis, maps), noise(3, 1, 8, 8)
    expected = encoding_op.H(weights * encoding_op(features))
    assert relative(SubspaceNormal(kernels.kernel(), maps)(features), expected) < 2e-5


@REAL_AND_COMPLEX
@ANY_AND_ROTATED
def test_sums_in_one_basis_mix_to_those_in_another(is_rotated: bool, is_real: bool) -> None:
    trajectory, shape = golden_spokes(60, 16, 8), (1, 8, 8)
    navigators, kspace = some_basis(5, 60, is_real), noise(2, 60, 16)
    mixing = some_basis(3, 5, is_real)
    rotated = rotated_readouts(trajectory, shape) if is_rotated else None
    sums, expected = FeatureSums(shape, rotated), FeatureSums(shape, rotated)
    kernels, expected_kernels = KernelSums(shape, rotated), KernelSums(shape, rotated)
    sums.add(kspace, trajectory, navigators)
    kernels.add(trajectory, navigators)
    expected.add(kspace, trajectory, mixing @ navigators)
    expected_kernels.add(trajectory, mixing @ navigators)
    torch.testing.assert_close(sums.mixed(mixing).images(), expected.images())
    torch.testing.assert_close(mixed_kernel(kernels.kernel(), mixing), expected_kernels.kernel())


def test_least_squares_feature_maps_are_those_of_bart(bart: RunBart) -> None:
    """`pics -B` of 12 frames of 5 spokes. The object is smooth and in the middle: near the edges of image and
    k-space BART's transform itself is wrong by some percent."""
    n_frames, n_spokes, matrix, rank = 12, 5, 24, 3
    trajectory = golden_spokes(n_frames * n_spokes, 32, matrix).float()
    frame_basis = torch.linalg.qr(noise(n_frames, rank, dtype=torch.float32)).Q.mT
    basis = frame_basis.repeat_interleave(n_spokes, dim=1)
    maps = loop_coil_maps(4, (matrix, matrix))[:, None]
    encoding_op = SubspaceOperator(trajectory, basis, maps)
    kspace = encoding_op(smooth_features(rank, matrix))
    ours = conjugate_gradient(
        lambda x: encoding_op.normal(x) + 0.05 * x, encoding_op.H(kspace), n_iterations=60
    )
    per_frame = torch.nn.functional.pad(trajectory, (0, 1)).reshape(n_frames, 1, 1, n_spokes, 32, 3)
    data = kspace.reshape(4, n_frames, n_spokes, 32).transpose(0, 1)[:, None, ..., None]
    of_coefficients = frame_basis.reshape(rank, n_frames, 1, 1, 1, 1, 1)
    (theirs,) = bart("pics -w 1 -l2 -r 0.05 -i 60 -t in2 -B in3", data, maps, per_frame, of_coefficients)
    assert relative(ours[:, 0], theirs.reshape(rank, matrix, matrix)) < 1e-3


def test_what_does_not_fit_is_refused() -> None:
    trajectory, basis = golden_spokes(6, 8, 4), some_basis(2, 6, True)
    kspace, maps = noise(3, 6, 8), noise(3, 1, 4, 4)
    with pytest.raises(InputError, match=r"column of the basis"):
        subspace_backprojection(kspace, trajectory, basis[:, :5], maps)
    with pytest.raises(InputError, match=r"each readout its positions"):
        subspace_backprojection(kspace, trajectory[:, :7], basis, maps)
    with pytest.raises(InputError, match=r"complex coil maps \(coil, z, y, x\)"):
        subspace_backprojection(kspace, trajectory, basis, maps.real)
    with pytest.raises(InputError, match=r"got 'gpu'; name one"):
        subspace_backprojection(kspace, trajectory, basis, maps, backend="gpu")
    with pytest.raises(InputError, match=r"use maps of this matrix"):
        SubspaceNormal(noise(4, 1, 5, 5, 2, 2), maps)
    with pytest.raises(InputError, match=r"expected readouts before their images"):
        FeatureSums((1, 4, 4), None).images()
    with pytest.raises(InputError, match=r"expected readouts before their kernel"):
        KernelSums((1, 4, 4), None).kernel()
