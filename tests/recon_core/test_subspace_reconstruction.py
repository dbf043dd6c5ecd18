"""Reference solvers of the feature space against SigPy and BART on the same data."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import pywt
import sigpy
import sigpy.app
import sigpy.linop
import sigpy.prox
import torch

from recon_core import fourier
from recon_core.simulate import loop_coil_maps
from recon_core.solve.power_method import largest_eigenvalue
from recon_core.subspace import SubspaceOperator
from recon_core.subspace_reconstruction import locally_low_rank_subspace, wavelet_subspace
from recon_core.trajectories import directions, golden_angle, radial

RunBart = Callable[..., list[torch.Tensor]]
RANK, MATRIX, N_FRAMES, N_SPOKES, N_COILS = 3, 16, 8, 4, 2
N_READOUTS, N_SAMPLES = N_FRAMES * N_SPOKES, 2 * MATRIX


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


class Scan:
    """8 frames of 4 golden-angle spokes of a smooth object of rank 3, with noise."""

    angles_rad = torch.arange(N_READOUTS) * golden_angle()
    trajectory = radial(directions(angles_rad), N_SAMPLES, spacing=0.5)
    frame_basis = torch.linalg.qr(noise(N_FRAMES, RANK).real).Q.mT.contiguous()
    basis = frame_basis.repeat_interleave(N_SPOKES, dim=1)
    coil_maps = loop_coil_maps(N_COILS, (MATRIX, MATRIX))[:, None]
    encoding_op = SubspaceOperator(trajectory, basis, coil_maps)

    def __init__(self) -> None:
        coarse = fourier.resize(noise(RANK, 1, 5, 5), (1, MATRIX, MATRIX))
        r = (torch.arange(MATRIX) - MATRIX // 2) / MATRIX
        self.truth = fourier.ifft(coarse) * torch.exp(-(r[:, None].square() + r.square()) / (2 * 0.15**2))
        clean = self.encoding_op(self.truth)
        self.kspace = clean + 0.02 * clean.abs().mean() * noise(*clean.shape, seed=1)
        self.rhs = self.encoding_op.H(self.kspace)


@pytest.fixture(scope="module")
def scan() -> Scan:
    return Scan()


def nrmse(actual: torch.Tensor, expected: torch.Tensor) -> float:
    return float((actual - expected).norm() / expected.norm())


class WaveletProx(sigpy.prox.Prox):  # type: ignore[misc]
    """Soft thresholds of PyWavelets' orthogonal coefficients."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        super().__init__((RANK, MATRIX, MATRIX))

    def _prox(self, alpha: float, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        options = {"mode": "periodization", "axes": (1, 2)}
        parts = pywt.wavedecn(x, "db4", level=1, **options)
        array, slices = pywt.coeffs_to_array(parts, axes=(1, 2))
        array = pywt.threshold(array, alpha * self.weight, mode="soft")
        parts = pywt.array_to_coeffs(array, slices, output_format="wavedecn")
        return np.asarray(pywt.waverecn(parts, "db4", **options), np.complex64)


class PatchProx(sigpy.prox.Prox):  # type: ignore[misc]
    """NumPy's singular values of 8 × 8 patches, thresholded."""

    def __init__(self, weight: float) -> None:
        self.weight = weight
        super().__init__((RANK, MATRIX, MATRIX))

    def _prox(self, alpha: float, x: npt.NDArray[Any]) -> npt.NDArray[Any]:
        patches = x.reshape(RANK, 2, 8, 2, 8).transpose(1, 3, 0, 2, 4).reshape(2, 2, RANK, 64)
        left, singular, right = np.linalg.svd(patches, full_matrices=False)
        kept = (left * np.maximum(singular - alpha * self.weight, 0)[..., None, :]) @ right
        result: npt.NDArray[Any] = kept.reshape(2, 2, RANK, 8, 8).transpose(2, 0, 3, 1, 4).reshape(x.shape)
        return result


def minimised_by_sigpy(scan: Scan, prox: sigpy.prox.Prox) -> torch.Tensor:
    """Accelerated proximal gradients with SigPy's NUFFT."""
    maps = sigpy.linop.Multiply((RANK, 1, MATRIX, MATRIX), scan.coil_maps[:, 0].numpy())
    coil_images = maps * sigpy.linop.Reshape((RANK, 1, MATRIX, MATRIX), (RANK, MATRIX, MATRIX))
    coordinates = scan.trajectory.flip(-1).numpy()
    nufft = sigpy.linop.NUFFT(coil_images.oshape, coordinates, oversamp=2, width=6)
    of_time = sigpy.linop.Multiply(nufft.oshape, scan.basis[:, None, :, None].numpy())
    encoding = sigpy.linop.Sum(nufft.oshape, (0,)) * of_time * nufft * coil_images
    step = 0.9 / largest_eigenvalue(scan.encoding_op.normal, scan.truth)
    app = sigpy.app.LinearLeastSquares(
        encoding, scan.kspace.numpy(), proxg=prox, alpha=step, max_iter=100, show_pbar=False
    )
    return torch.from_numpy(app.run())[:, None]


def test_wavelet_feature_maps_are_those_of_sigpy(scan: Scan) -> None:
    weight = 0.001 * float(scan.rhs.abs().max())
    expected = minimised_by_sigpy(scan, WaveletProx(weight))
    actual = wavelet_subspace(scan.encoding_op.normal, scan.rhs, regularisation=0.001, seed=None)
    assert nrmse(actual, expected) < 5e-3


def test_locally_low_rank_feature_maps_are_those_of_sigpy(scan: Scan) -> None:
    weight = 0.03 * float(scan.rhs.abs().max())
    expected = minimised_by_sigpy(scan, PatchProx(weight))
    actual = locally_low_rank_subspace(scan.encoding_op.normal, scan.rhs, regularisation=0.03, seed=None)
    assert nrmse(actual, expected) < 5e-3


def test_wavelet_feature_maps_are_near_those_of_bart_with_its_wavelet(bart: RunBart, scan: Scan) -> None:
    """`pics -B -R W`, which is Daubechies 2 with other levels."""
    actual = wavelet_subspace(scan.encoding_op.normal, scan.rhs, regularisation=0.0003)
    step = 0.9 / largest_eigenvalue(scan.encoding_op.normal, scan.truth)
    weight = 0.0003 * float(scan.rhs.abs().max())
    of_frames = torch.nn.functional.pad(scan.trajectory, (0, 1))
    (expected,) = bart(
        f"pics -w 1 -s {step} -i 200 -R W:3:0:{weight} -t in2 -B in3",
        scan.kspace.unflatten(1, (N_FRAMES, N_SPOKES)).transpose(0, 1)[:, None, ..., None],
        scan.coil_maps,
        of_frames.reshape(N_FRAMES, 1, 1, N_SPOKES, N_SAMPLES, 3),
        scan.frame_basis.reshape(RANK, N_FRAMES, 1, 1, 1, 1, 1),
    )
    assert nrmse(actual, expected.reshape(actual.shape)) < 0.04


def test_the_patches_and_shifts_of_a_seed_are_its_own(scan: Scan) -> None:
    some = {
        seed: locally_low_rank_subspace(scan.encoding_op.normal, scan.rhs, n_iterations=3, seed=seed)
        for seed in (0, 1)
    }
    again = locally_low_rank_subspace(scan.encoding_op.normal, scan.rhs, n_iterations=3, seed=0)
    assert torch.equal(some[0], again)
    assert not torch.equal(some[0], some[1])


def test_no_data_have_no_feature_maps(scan: Scan) -> None:
    nothing = torch.zeros_like(scan.rhs)
    assert torch.equal(wavelet_subspace(scan.encoding_op.normal, nothing, n_iterations=2), nothing)
