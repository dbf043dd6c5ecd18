"""The reconstructions that invert the SENSE operator: what each keeps to."""

import numpy as np
import pytest
import torch

from recon_core.errors import InputError
from recon_core.sense import cg_sense, tv_sense, wavelet_sense
from recon_core.sense_operator import SenseOperator
from tests.recon_core.sense_problems import Reconstruction, noise, nrmse, smooth_maps, undersampled


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


def test_tolerance_stops_cg_sense_when_the_residual_of_the_normal_equations_is_below_it() -> None:
    coil_maps, sampled = smooth_maps(6, 1, 24, 32), undersampled((1, 24, 32), "ky")
    kspace = noise(6, 1, 24, 32)
    sense_op = SenseOperator(coil_maps, sampled)
    rhs = sense_op.H(kspace)
    image = cg_sense(kspace, coil_maps, sampled, n_iterations=200, tolerance=1e-3)
    residual = float((sense_op.normal(image) - rhs).norm() / rhs.norm())
    assert 1e-5 < residual <= 1e-3


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
