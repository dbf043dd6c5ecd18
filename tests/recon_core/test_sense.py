"""The SENSE operator and the reconstructions that invert it, against SigPy, BART and dense matrices."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
import sigpy.mri.linop
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_core import fourier
from recon_core.errors import InputError
from recon_core.sense import cg_sense, tv_sense, wavelet_sense
from recon_core.sense_operator import SenseOperator
from recon_core.solve.power_method import largest_eigenvalue
from recon_core.solve.total_variation import FiniteDifference
from recon_core.testing import assert_linear_operator

RunBart = Callable[..., list[torch.Tensor]]
Reconstruction = Callable[..., torch.Tensor]


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def smooth_maps(*shape: int, seed: int = 0) -> torch.Tensor:
    """Random low-frequency maps ([set,] coil, z, y, x), orthonormal over the coils at each pixel."""
    centre = [min(length, 3) for length in shape[-3:]]
    maps = fourier.ifft(fourier.resize(noise(*shape[:-3], *centre, seed=seed), shape[-3:]))
    if len(shape) == 4:
        return maps / maps.abs().square().sum(0).sqrt()
    orthonormal = torch.linalg.qr(maps.permute(2, 3, 4, 1, 0)).Q
    return orthonormal.permute(4, 3, 0, 1, 2)


def undersampled(matrix: tuple[int, int, int], kind: str) -> torch.Tensor:
    nz, ny, nx = matrix
    if kind == "everything":
        return torch.ones(1, 1, 1, dtype=torch.bool)
    if kind == "ky":
        mask = torch.zeros(ny, 1, dtype=torch.bool)
        mask[::2], mask[ny // 2 - ny // 8 : ny // 2 + ny // 8 + 1] = True, True
        return mask
    shape = {"kz, ky": (nz, ny, 1), "ky, kx": (ny, nx), "kx": (nx,), "kz, kx": (nz, 1, nx)}[kind]
    return torch.rand(shape, generator=torch.Generator().manual_seed(5)) < 0.6


@pytest.mark.parametrize("kind", ["everything", "ky", "kx", "kz, ky", "ky, kx", "kz, kx"])
@pytest.mark.parametrize(
    "shape", [(4, 1, 6, 8), (3, 5, 7, 6), (2, 3, 3, 5, 4), (2, 3, 1, 1, 6), (1, 2, 1, 9, 1)]
)
def test_sense_is_a_linear_operator_in_2d_and_3d_with_and_without_sets(
    shape: tuple[int, ...], kind: str
) -> None:
    sense_op = SenseOperator(noise(*shape), undersampled(shape[-3:], kind))
    image_shape = (*shape[:-4], *shape[-3:])
    assert_linear_operator(sense_op, image_shape)
    assert_linear_operator(sense_op.normal, image_shape)
    assert_linear_operator(sense_op, (2, 3, *image_shape))


@pytest.mark.parametrize("matrix", [(1, 9, 8), (4, 5, 7)])
def test_sense_is_the_operator_of_sigpy(matrix: tuple[int, int, int]) -> None:
    coil_maps, sampled = noise(3, *matrix), undersampled(matrix, "ky, kx").expand(matrix)
    image = noise(*matrix, seed=1)
    reference = sigpy.mri.linop.Sense(coil_maps.numpy(), weights=sampled.double().numpy())
    expected = torch.from_numpy(reference(image.numpy()))
    torch.testing.assert_close(SenseOperator(coil_maps, sampled)(image), expected)


def test_normal_operator_takes_many_coils_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon_core.sense_operator.COIL_BLOCK_ELEMENTS", 2 * 3 * 5 * 4)
    assert_linear_operator(SenseOperator(noise(2, 5, 3, 5, 4), undersampled((3, 5, 4), "ky")), (2, 3, 5, 4))


@pytest.mark.parametrize("shape", [(3, 1, 5, 6), (2, 3, 2, 5, 4)])
def test_gradients_through_the_operators_are_those_of_least_squares(shape: tuple[int, ...]) -> None:
    sense_op = SenseOperator(noise(*shape), undersampled(shape[-3:], "ky, kx"))
    image = noise(*shape[:-4], *shape[-3:], seed=1).requires_grad_()
    (through_forward,) = torch.autograd.grad(sense_op(image).abs().square().sum() / 2, image)
    (through_normal,) = torch.autograd.grad((sense_op.normal(image).conj() * image).real.sum() / 2, image)
    (through_adjoint,) = torch.autograd.grad(sense_op.H(sense_op(image)).abs().square().sum() / 2, image)
    N = sense_op.normal
    torch.testing.assert_close(through_forward, N(image.detach()))
    torch.testing.assert_close(through_normal, N(image.detach()))
    torch.testing.assert_close(through_adjoint, N(N(image.detach())))


@given(st.booleans(), st.floats(0.1, 3), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_no_eigenvalue_is_above_the_bound(has_sets: bool, scale: float, seed: int) -> None:
    shape = (2, 4, 2, 5, 6) if has_sets else (4, 2, 5, 6)
    sense_op = SenseOperator(scale * noise(*shape, seed=seed), undersampled((2, 5, 6), "ky, kx"))
    start = noise(*shape[:-4], *shape[-3:], seed=seed + 1)
    largest = largest_eigenvalue(sense_op.normal, start, n_iterations=40)
    assert 0 < largest <= sense_op.max_eigenvalue_bound() * (1 + 1e-12)


@pytest.mark.parametrize("shape", [(6, 1, 8, 8), (2, 6, 1, 8, 8)])
def test_the_bound_is_one_for_orthonormal_maps(shape: tuple[int, ...]) -> None:
    sense_op = SenseOperator(smooth_maps(*shape), undersampled((1, 8, 8), "ky"))
    assert sense_op.max_eigenvalue_bound() == pytest.approx(1)


@pytest.mark.parametrize("shape", [(5, 1, 6, 7), (2, 5, 3, 4, 3)])
def test_cg_sense_solves_the_regularised_least_squares_problem(shape: tuple[int, ...]) -> None:
    sense_op = SenseOperator(smooth_maps(*shape), undersampled(shape[-3:], "ky, kx"))
    image_shape = (*shape[:-4], *shape[-3:])
    n_unknowns = int(np.prod(image_shape))
    basis = torch.eye(n_unknowns, dtype=torch.complex128).reshape(n_unknowns, *image_shape)
    A = sense_op(basis).reshape(n_unknowns, -1).mT
    kspace = noise(*shape[-4:], seed=3)
    normal_matrix = A.mH @ A + 0.05 * torch.eye(n_unknowns)
    expected = torch.linalg.solve(normal_matrix, A.mH @ kspace.flatten()).reshape(image_shape)
    actual = cg_sense(
        kspace, smooth_maps(*shape), sense_op.sampled, n_iterations=100, regularisation=0.05, tolerance=1e-12
    )
    torch.testing.assert_close(actual, expected)


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


def test_tolerance_stops_cg_sense_when_the_residual_of_the_normal_equations_is_below_it() -> None:
    coil_maps, sampled = smooth_maps(6, 1, 24, 32), undersampled((1, 24, 32), "ky")
    kspace = noise(6, 1, 24, 32)
    sense_op = SenseOperator(coil_maps, sampled)
    rhs = sense_op.H(kspace)
    image = cg_sense(kspace, coil_maps, sampled, n_iterations=200, tolerance=1e-3)
    residual = float((sense_op.normal(image) - rhs).norm() / rhs.norm())
    assert 1e-5 < residual <= 1e-3


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


RECONSTRUCTIONS: list[Reconstruction] = [cg_sense, wavelet_sense, tv_sense]


@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
@pytest.mark.parametrize("shape", [(4, 1, 18, 17), (2, 4, 1, 18, 16), (2, 4, 4, 15, 16)])
def test_every_reconstruction_keeps_the_dtype_and_shape_and_scales_with_the_data(
    reconstruction: Reconstruction, shape: tuple[int, ...]
) -> None:
    coil_maps, sampled = smooth_maps(*shape), undersampled(shape[-3:], "ky")
    kspace = noise(*shape[-4:], seed=4)
    image = reconstruction(kspace, coil_maps, sampled, n_iterations=8, regularisation=0.01)
    assert image.shape == (*shape[:-4], *shape[-3:])
    assert image.dtype == torch.complex128
    scaled = reconstruction(1e-7j * kspace, coil_maps, sampled, n_iterations=8, regularisation=0.01)
    torch.testing.assert_close(1e7 * scaled, 1j * image)
    single = reconstruction(
        kspace.to(torch.complex64),
        coil_maps.to(torch.complex64),
        sampled,
        n_iterations=8,
        regularisation=0.01,
    )
    assert single.dtype == torch.complex64
    assert nrmse(single, image) < 1e-5


@pytest.mark.parametrize("backend", ["torch", "sigpy"])
@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
def test_a_batch_is_reconstructed_as_its_items_are(reconstruction: Reconstruction, backend: str) -> None:
    coil_maps, sampled = smooth_maps(4, 1, 18, 16), undersampled((1, 18, 16), "ky")
    kspace = noise(2, 3, 4, 1, 18, 16) * torch.arange(1, 7).reshape(2, 3, 1, 1, 1, 1)
    together = reconstruction(
        kspace, coil_maps, sampled, n_iterations=5, regularisation=0.01, backend=backend
    )
    alone = reconstruction(
        kspace[1, 2], coil_maps, sampled, n_iterations=5, regularisation=0.01, backend=backend
    )
    torch.testing.assert_close(together[1, 2], alone)


@pytest.mark.parametrize("backend", ["torch", "sigpy"])
@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
def test_what_was_not_sampled_is_ignored(reconstruction: Reconstruction, backend: str) -> None:
    coil_maps, sampled = smooth_maps(4, 1, 18, 16), undersampled((1, 18, 16), "ky")
    kspace = noise(4, 1, 18, 16)
    options = {"n_iterations": 5, "regularisation": 0.01, "backend": backend}
    expected = reconstruction(torch.where(sampled, kspace, 0), coil_maps, sampled, **options)
    for garbage in (1e6, torch.nan):
        actual = reconstruction(torch.where(sampled, kspace, garbage), coil_maps, sampled, **options)
        torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
@pytest.mark.parametrize("empty", ["kspace", "coil_maps", "sampled"])
def test_nothing_gives_zeros_not_nan(reconstruction: Reconstruction, empty: str) -> None:
    given = {
        "kspace": noise(3, 1, 16, 16),
        "coil_maps": smooth_maps(3, 1, 16, 16),
        "sampled": torch.ones(16, 16, dtype=torch.bool),
    }
    given[empty] = torch.zeros_like(given[empty])
    image = reconstruction(**given, n_iterations=3, regularisation=0.01)
    assert torch.equal(image, torch.zeros(1, 16, 16, dtype=torch.complex128))


@pytest.mark.parametrize(("noise_std", "expected"), [(None, 2e-3), (0.01, None), (1e-9, 3e-4), (9.0, 2.5e-3)])
def test_wavelets_without_a_weight_follow_the_noise(noise_std: float | None, expected: float | None) -> None:
    maps, sampled = smooth_maps(3, 1, 16, 18), undersampled((1, 16, 18), "ky, kx")
    kspace = noise(3, 1, 16, 18, seed=1) * sampled
    brightest = float(SenseOperator(maps, sampled).H(kspace).abs().max())
    weight = expected or 0.15 * noise_std / brightest  # type: ignore[operator]
    told = wavelet_sense(kspace, maps, sampled, n_iterations=5, regularisation=weight)
    torch.testing.assert_close(
        wavelet_sense(kspace, maps, sampled, n_iterations=5, noise_std=noise_std), told
    )


def test_wavelet_sense_repeats_bit_for_bit_with_its_seed_and_only_with_it() -> None:
    given = noise(3, 1, 20, 20), smooth_maps(3, 1, 20, 20), undersampled((1, 20, 20), "ky")
    first, second, other = (wavelet_sense(*given, n_iterations=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)


def test_wavelet_sense_without_regularisation_inverts_full_sampling() -> None:
    coil_maps, image = smooth_maps(4, 3, 15, 16), noise(3, 15, 16)
    everything = undersampled((3, 15, 16), "everything")
    kspace = SenseOperator(coil_maps, everything)(image)
    torch.testing.assert_close(wavelet_sense(kspace, coil_maps, everything, regularisation=0.0), image)


@pytest.mark.parametrize(
    ("kspace_shape", "maps_shape", "sampled", "match"),
    [
        ((4, 1, 8, 8), (3, 1, 8, 8), torch.ones(8, 8, dtype=torch.bool), "k-space"),
        ((4, 1, 8, 8), (4, 8, 8), torch.ones(8, 8, dtype=torch.bool), "coil maps"),
        ((4, 1, 8, 8), (4, 1, 8, 8), torch.ones(8, 8), "boolean"),
        ((4, 1, 8, 8), (4, 1, 8, 8), torch.ones(4, 8, dtype=torch.bool), "broadcastable"),
    ],
)
@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
def test_what_does_not_fit_is_refused(
    reconstruction: Reconstruction,
    kspace_shape: tuple[int, ...],
    maps_shape: tuple[int, ...],
    sampled: torch.Tensor,
    match: str,
) -> None:
    with pytest.raises(InputError, match=match):
        reconstruction(noise(*kspace_shape), noise(*maps_shape), sampled)


@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
def test_an_unknown_backend_is_refused_and_sigpy_refuses_sets(reconstruction: Reconstruction) -> None:
    sampled = torch.ones(8, 8, dtype=torch.bool)
    with pytest.raises(InputError, match="'torch' or 'sigpy', got 'numpy'"):
        reconstruction(noise(3, 1, 8, 8), noise(3, 1, 8, 8), sampled, backend="numpy")
    with pytest.raises(InputError, match="several map sets"):
        reconstruction(noise(3, 1, 8, 8), noise(2, 3, 1, 8, 8), sampled, backend="sigpy")


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("reconstruction", RECONSTRUCTIONS)
def test_every_reconstruction_gives_the_same_on_cuda(reconstruction: Reconstruction) -> None:
    given = noise(4, 3, 18, 17), smooth_maps(4, 3, 18, 17), undersampled((3, 18, 17), "kz, ky")
    on_cpu = reconstruction(*given, n_iterations=8, regularisation=0.01)
    on_cuda = reconstruction(*(array.cuda() for array in given), n_iterations=8, regularisation=0.01)
    assert on_cuda.is_cuda
    torch.testing.assert_close(on_cuda.cpu(), on_cpu)


def nrmse(image: torch.Tensor, reference: torch.Tensor) -> float:
    return float((image - reference).norm() / reference.norm())


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


def test_axes_not_transformed_count_slices_of_their_own() -> None:
    coil_maps, sampled, image = noise(4, 3, 6, 5), undersampled((3, 6, 5), "ky, kx"), noise(3, 6, 5, seed=1)
    sampled = torch.stack([sampled, sampled.roll(1, 0), sampled.roll(1, 1)])
    stack = SenseOperator(coil_maps, sampled, axes=(-2, -1))
    assert_linear_operator(stack, (3, 6, 5))
    assert_linear_operator(stack.normal, (3, 6, 5))
    for number in range(3):
        of_one = slice(number, number + 1)
        alone = SenseOperator(coil_maps[:, of_one], sampled[of_one])
        torch.testing.assert_close(stack(image)[:, of_one], alone(image[of_one]))
        torch.testing.assert_close(stack.normal(image)[of_one], alone.normal(image[of_one]))
