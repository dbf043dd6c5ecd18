"""SENSE off the grid: laws, the exact head, SigPy and BART."""

from collections.abc import Callable
from functools import partial

import pytest
import sigpy.mri.linop
import torch

from recon_core.density_compensation import swept_density
from recon_core.errors import InputError
from recon_core.fourier import fft, ifft
from recon_core.non_cartesian_sense import NonCartesianSampling, NonCartesianSense
from recon_core.nufft import Nufft
from recon_core.sense import cg_sense, tv_sense, wavelet_sense
from recon_core.solve.power_method import largest_eigenvalue
from recon_core.testing import assert_linear_operator
from tests.non_cartesian import ExactScan, exact_scan, golden_spokes, spiral_arms

RunBart = Callable[..., list[torch.Tensor]]
N = 64


def noise(*shape: int, dtype: torch.dtype = torch.complex128, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def random_sampling(shape: tuple[int, ...], is_weighted: bool) -> NonCartesianSampling:
    uniform = torch.rand(5, 9, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 0.5
    weights = torch.rand(5, 9, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    return NonCartesianSampling(
        trajectory=uniform * torch.tensor(shape[:-4:-1]), weights=weights if is_weighted else None
    )


def weighted(scan: ExactScan) -> NonCartesianSampling:
    return NonCartesianSampling(trajectory=scan.trajectory, weights=swept_density(scan.trajectory))


def unweighted(scan: ExactScan) -> NonCartesianSampling:
    return NonCartesianSampling(trajectory=scan.trajectory)


def within_disc(image: torch.Tensor) -> torch.Tensor:
    k = torch.arange(N) - N // 2
    return ifft(fft(image) * (k[:, None].square() + k.square() <= (N / 2) ** 2))


def distance(image: torch.Tensor, reference: torch.Tensor) -> float:
    return float((image - reference).norm() / reference.norm())


@pytest.mark.parametrize("is_weighted", [True, False])
@pytest.mark.parametrize("shape", [(4, 1, 7, 8), (3, 4, 5, 6), (2, 3, 1, 6, 5)])
def test_is_a_linear_operator_in_2d_and_3d_with_and_without_sets(shape, is_weighted) -> None:
    sense_op = NonCartesianSense(noise(*shape), random_sampling(shape, is_weighted))
    assert_linear_operator(sense_op, (2, *shape[:-4], *shape[-3:]))


def test_is_the_operator_of_sigpy() -> None:
    maps, sampling = noise(3, 1, 12, 10), random_sampling((1, 12, 10), is_weighted=True)
    image = noise(1, 12, 10, seed=3)
    theirs = sigpy.mri.linop.Sense(
        maps[:, 0].numpy(), coord=sampling.trajectory[..., [1, 0]].numpy(), weights=sampling.weights.numpy()
    )(image[0].numpy())
    # SigPy's own transform is good to 7e-3 as SENSE uses it.
    assert distance(NonCartesianSense(maps, sampling)(image), torch.from_numpy(theirs)) < 0.01


@pytest.mark.parametrize("is_weighted", [True, False])
@pytest.mark.parametrize("shape", [(3, 1, 16, 14), (2, 3, 1, 12, 12), (2, 6, 5, 7)])
def test_no_eigenvalue_is_above_the_bound_and_the_bound_is_near(shape, is_weighted) -> None:
    sense_op = NonCartesianSense(noise(*shape), random_sampling(shape, is_weighted))
    start = noise(*shape[:-4], *shape[-3:], seed=5)
    largest = largest_eigenvalue(sense_op.normal, start, n_iterations=200)
    assert largest <= sense_op.max_eigenvalue_bound()


@pytest.mark.parametrize("trajectory", [golden_spokes(N, 89), spiral_arms(N, 16)], ids=["radial", "spiral"])
@pytest.mark.parametrize(
    ("reconstruct", "below"),
    [(partial(cg_sense, n_iterations=10), 0.012), (wavelet_sense, 0.012), (tv_sense, 0.015)],
)
def test_every_reconstruction_gives_the_head(trajectory, reconstruct, below) -> None:
    """Within the disc of k-space that spokes and spirals reach."""
    scan = exact_scan(trajectory, N, noise_std=0.005)
    image = reconstruct(scan.kspace, scan.coil_maps, weighted(scan))
    assert distance(within_disc(image), within_disc(scan.truth)) < below


def test_regularisation_helps_where_spokes_are_few() -> None:
    scan = exact_scan(golden_spokes(N, 15), N, noise_std=0.02)
    sampling = weighted(scan)
    plain = distance(cg_sense(scan.kspace, scan.coil_maps, sampling, n_iterations=10), scan.truth)
    for reconstruct in (wavelet_sense, tv_sense):
        image = reconstruct(scan.kspace, scan.coil_maps, sampling, regularisation=0.005)
        assert distance(image, scan.truth) < 0.9 * plain


def test_cg_sense_solves_the_regularised_least_squares_problem() -> None:
    shape = (3, 1, 5, 6)
    maps, sampling = noise(*shape), random_sampling(shape, is_weighted=True)
    y = noise(3, 5, 9, seed=4)
    x = cg_sense(y, maps, sampling, n_iterations=100, regularisation=0.1)
    nufft_op = NonCartesianSense(maps, NonCartesianSampling(trajectory=sampling.trajectory))
    gradient = nufft_op.H(sampling.weights * (nufft_op(x) - y)) + 0.1 * x
    assert gradient.norm() < 1e-8 * nufft_op.H(sampling.weights * y).norm()


@pytest.mark.parametrize(
    ("reconstruct", "below"),
    [
        (partial(cg_sense, n_iterations=10, regularisation=0.05), 0.01),
        (partial(wavelet_sense, n_iterations=50), 0.08),
        (partial(tv_sense, n_iterations=150), 0.03),
    ],
)
def test_agrees_with_sigpy(reconstruct, below) -> None:
    """Whose transform is good to 7e-3, and whose wavelet is neither periodic nor shifted."""
    scan = exact_scan(golden_spokes(32, 21), 32, noise_std=0.01)
    ours = reconstruct(scan.kspace, scan.coil_maps, weighted(scan))
    assert distance(ours, reconstruct(scan.kspace, scan.coil_maps, weighted(scan), backend="sigpy")) < below


def test_sigpy_takes_samples_without_weights_and_batches() -> None:
    scan = exact_scan(golden_spokes(32, 21), 32, noise_std=0.01)
    kspace = torch.stack([scan.kspace, 2 * scan.kspace])
    reconstruct = partial(cg_sense, kspace, scan.coil_maps, unweighted(scan), n_iterations=10)
    ours, theirs = (reconstruct(regularisation=1.0, backend=backend) for backend in ("torch", "sigpy"))
    assert distance(ours, theirs) < 0.01


@pytest.mark.parametrize("trajectory", [golden_spokes(N, 34), spiral_arms(N, 12)], ids=["radial", "spiral"])
def test_agrees_with_bart(bart: RunBart, trajectory: torch.Tensor) -> None:
    """Whose direct sum (-s) is exact and not scaled, whose gridding is good to 2e-3."""
    scan = exact_scan(trajectory, N, noise_std=0.01)
    coordinates = torch.nn.functional.pad(scan.trajectory, (0, 1)).to(torch.complex64)
    kspace, maps, w = scan.kspace[..., None], scan.coil_maps, swept_density(scan.trajectory)

    nufft_op = Nufft(scan.trajectory, (1, N, N))
    samples = nufft_op(scan.truth)
    (direct,) = bart("nufft -s", coordinates, scan.truth)
    assert distance(samples, direct.view(samples.shape) / N) < 1e-5
    (adjoint,) = bart(f"nufft -a -d{N}:{N}:1", coordinates, samples[..., None])
    assert distance(nufft_op.H(samples), adjoint.view(1, N, N)) < 3e-3

    ours = cg_sense(scan.kspace, maps, unweighted(scan), n_iterations=30, regularisation=0.5)
    (theirs,) = bart("pics -w 1 -l2 -r 0.5 -i 30 -t in2", kspace, maps, coordinates)
    assert distance(ours, theirs.view(ours.shape)) < 0.01

    # BART squares its weights.
    arrays = kspace, maps, coordinates, w.sqrt()[..., None].to(torch.complex64)
    scale = float(NonCartesianSense(maps, weighted(scan)).H(scan.kspace * w.sqrt()).abs().max())
    ours = wavelet_sense(scan.kspace, maps, weighted(scan), n_iterations=60, regularisation=0.002)
    (theirs,) = bart(f"pics -w 1 -e -i 60 -R W:3:0:{0.002 * scale} -t in2 -p in3", *arrays)
    assert distance(ours, theirs.view(ours.shape)) < 0.05
    ours = tv_sense(scan.kspace, maps, weighted(scan), n_iterations=150, regularisation=0.001)
    (theirs,) = bart(f"pics -w 1 -i 100 -R T:3:0:{0.001 * scale} -t in2 -p in3", *arrays)
    assert distance(ours, theirs.view(ours.shape)) < 0.04


@pytest.mark.parametrize("reconstruct", [cg_sense, wavelet_sense, tv_sense])
def test_a_batch_is_reconstructed_as_its_items_are(reconstruct) -> None:
    scan = exact_scan(golden_spokes(32, 21), 32)
    kspace = torch.stack([scan.kspace, 0.1 * scan.kspace.flip(0)])
    both = reconstruct(kspace, scan.coil_maps, weighted(scan), n_iterations=5)
    for image, samples in zip(both, kspace, strict=True):
        alone = reconstruct(samples, scan.coil_maps, weighted(scan), n_iterations=5)
        assert distance(image, alone) < 1e-5


@pytest.mark.parametrize("reconstruct", [cg_sense, wavelet_sense, tv_sense])
def test_nothing_gives_zeros_not_nan(reconstruct) -> None:
    scan = exact_scan(golden_spokes(32, 8), 32)
    assert not reconstruct(0 * scan.kspace, scan.coil_maps, weighted(scan), n_iterations=3).any()
    assert not reconstruct(scan.kspace, 0 * scan.coil_maps, weighted(scan), n_iterations=3).any()


def test_what_does_not_fit_is_refused() -> None:
    scan = exact_scan(golden_spokes(32, 8), 32)
    with pytest.raises(InputError, match=r"of \(4, 8, 64\).* got \(2, 8, 64\)"):
        cg_sense(scan.kspace[:2], scan.coil_maps, weighted(scan))
    with pytest.raises(InputError, match=r"got \(4, 4, 64\)"):
        cg_sense(scan.kspace[:, :4], scan.coil_maps, weighted(scan))
    sampling = NonCartesianSampling(trajectory=scan.trajectory, weights=torch.ones(8, 3))
    with pytest.raises(InputError, match="weights"):
        cg_sense(scan.kspace, scan.coil_maps, sampling)
    with pytest.raises(InputError, match="complex coil maps"):
        cg_sense(scan.kspace, scan.coil_maps.abs(), weighted(scan))
