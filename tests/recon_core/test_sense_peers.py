"""SENSE reconstructions against SigPy, BART and a real brain."""

from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from recon_core import fourier
from recon_core.sense import cg_sense, tv_sense, wavelet_sense
from recon_core.sense_operator import SenseOperator
from recon_core.solve.total_variation import FiniteDifference
from tests.recon_core.sense_problems import RunBart, noise, nrmse, smooth_maps, undersampled


@pytest.mark.parametrize("matrix", [(1, 24, 33), (6, 14, 9)])
@pytest.mark.parametrize("regularisation", [0.0, 0.02])
def test_cg_sense_agrees_with_sigpy(matrix: tuple[int, int, int], regularisation: float) -> None:
    coil_maps, sampled = smooth_maps(6, *matrix), undersampled(matrix, "ky")
    kspace = noise(6, *matrix, seed=2)
    torch_image, sigpy_image = (
        cg_sense(kspace, coil_maps, sampled, n_iterations=12, regularisation=regularisation, backend=backend)
        for backend in ("torch", "sigpy")
    )
    torch.testing.assert_close(torch_image, sigpy_image)


@pytest.mark.parametrize("shape", [(6, 1, 24, 32), (2, 6, 1, 16, 20), (4, 4, 12, 8)])
def test_cg_sense_agrees_with_bart(bart: RunBart, shape: tuple[int, ...]) -> None:
    """At multiples of four, the lengths at which the modulation `pics` centres its transforms by is exact."""
    coil_maps = smooth_maps(*shape).to(torch.complex64)
    sampled = undersampled(shape[-3:], "ky")
    kspace = torch.where(sampled, noise(*shape[-4:], seed=2, dtype=torch.complex64), 0)
    actual = cg_sense(kspace, coil_maps, sampled, n_iterations=30, regularisation=0.02)
    (expected,) = bart("pics -w 1 -l2 -r 0.02 -i 30", kspace, coil_maps)
    assert nrmse(actual, expected.reshape(actual.shape)) < 1e-4


def test_wavelet_sense_fits_the_data_as_sigpy_does_and_is_nearer_to_full_sampling(shared_data: Path) -> None:
    kspace, coil_maps, sampled = real_brain(shared_data)
    images = [
        wavelet_sense(kspace, coil_maps, sampled, regularisation=0.002, backend=backend)
        for backend in ("torch", "sigpy")
    ]
    sense_op = SenseOperator(coil_maps, sampled)
    residuals = [float((sense_op(image) - torch.where(sampled, kspace, 0)).norm()) for image in images]
    assert residuals[0] <= 1.005 * residuals[1]
    assert nrmse(images[0], images[1]) < 0.05
    full = SenseOperator(coil_maps, torch.ones(1, 1, 1, dtype=torch.bool)).H(kspace)
    assert nrmse(images[0], full) < nrmse(images[1], full)


def test_wavelet_sense_agrees_with_bart(bart: RunBart, shared_data: Path) -> None:
    kspace, coil_maps, sampled = real_brain(shared_data)
    kspace = torch.where(sampled, kspace, 0)
    scale = float(SenseOperator(coil_maps, sampled).H(kspace).abs().max())
    actual = wavelet_sense(kspace, coil_maps, sampled, regularisation=0.002)
    (expected,) = bart(f"pics -w 1 -i 50 -R W:3:0:{0.002 * scale}", kspace, coil_maps)
    assert nrmse(actual, expected.reshape(actual.shape)) < 0.05


def test_cg_sense_has_the_residual_of_sigpy_and_bart_on_a_real_brain(
    bart: RunBart, shared_data: Path
) -> None:
    kspace, coil_maps, sampled = real_brain(shared_data)
    kspace = torch.where(sampled, kspace, 0)
    sense_op = SenseOperator(coil_maps, sampled)
    image = cg_sense(kspace, coil_maps, sampled)
    (from_bart,) = bart("pics -w 1 -l2 -r 0 -i 30", kspace, coil_maps)
    residual = float((sense_op(image) - kspace).norm())
    for other in (cg_sense(kspace, coil_maps, sampled, backend="sigpy"), from_bart.reshape(image.shape)):
        assert nrmse(image, other) < 1e-3
        assert residual == pytest.approx(float((sense_op(other) - kspace).norm()), rel=1e-4)


def tv_objective(image: torch.Tensor, sense_op: SenseOperator, kspace: torch.Tensor, weight: float) -> float:
    misfit = sense_op(image) - torch.where(sense_op.sampled, kspace, 0)
    return float(misfit.norm() ** 2) / 2 + weight * float(FiniteDifference(image.shape)(image).abs().sum())


@pytest.mark.parametrize("matrix", [(1, 16, 15), (5, 8, 6)])
def test_tv_sense_minimises_the_objective_of_sigpy(matrix: tuple[int, int, int]) -> None:
    coil_maps, sampled = smooth_maps(4, *matrix), undersampled(matrix, "ky")
    sense_op = SenseOperator(coil_maps, sampled)
    blocks = torch.zeros(matrix, dtype=torch.complex128)
    blocks[:, 3:9, 4:] = 1 - 2j
    kspace = sense_op(blocks) + 0.05 * noise(4, *matrix)
    weight = 0.02 * float(sense_op.H(kspace).abs().max())
    image = tv_sense(kspace, coil_maps, sampled, regularisation=0.02, n_iterations=400)
    reference = tv_sense(kspace, coil_maps, sampled, regularisation=0.02, n_iterations=2000, backend="sigpy")
    best = tv_objective(reference, sense_op, kspace, weight)
    assert tv_objective(image, sense_op, kspace, weight) <= best * (1 + 1e-3)
    assert nrmse(image, reference) < 0.02


def test_tv_sense_agrees_with_bart(bart: RunBart, shared_data: Path) -> None:
    kspace, coil_maps, sampled = real_brain(shared_data, crop=64)
    kspace = torch.where(sampled, kspace, 0)
    scale = float(SenseOperator(coil_maps, sampled).H(kspace).abs().max())
    actual = tv_sense(kspace, coil_maps, sampled, regularisation=0.001)
    (expected,) = bart(f"pics -w 1 -i 100 -R T:3:0:{0.001 * scale}", kspace, coil_maps)
    assert nrmse(actual, expected.reshape(actual.shape)) < 0.05


def real_brain(shared_data: Path, crop: int = 256) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """A fully sampled scan of 8 coils, maps from its central 24² samples, and a mask of every fourth line."""
    with h5py.File(shared_data / "raw" / "brain_8ch_256x256.h5", "r", locking=False) as file:
        readouts = file["dataset/data"][:]
    lines = [readout["data"].view(np.complex64).reshape(8, 1, 1, 256) for readout in readouts]
    order = np.argsort([readout["head"]["idx"]["kspace_encode_step_1"] for readout in readouts])
    kspace = torch.from_numpy(np.concatenate([lines[line] for line in order], axis=2))
    kspace = fourier.resize(kspace, (1, crop, crop))
    calibration = fourier.resize(fourier.resize(kspace, (1, 24, 24)), (1, crop, crop))
    coil_images = fourier.ifft(calibration)
    sampled = torch.zeros(crop, 1, dtype=torch.bool)
    sampled[::4], sampled[crop // 2 - 12 : crop // 2 + 12] = True, True
    return kspace, coil_images / coil_images.abs().square().sum(0).sqrt(), sampled
