"""The non-uniform transform against direct sums, our Cartesian transform, SigPy and BART."""

import math

import numpy as np
import pytest
import torch

from recon_core import fourier, nonuniform_sums
from recon_core.errors import InputError
from recon_core.nufft import Nufft
from recon_core.testing import assert_linear_operator

SIZES = [(1, 24, 24), (1, 17, 30), (7, 10, 9), (1, 1, 12), (1, 20, 1)]
"""Odd, even, unequal, in three dimensions and in one."""


def _noise(*shape: int, dtype: torch.dtype = torch.complex128, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def _trajectory(shape: tuple[int, int, int], *leading: int, seed: int = 1) -> torch.Tensor:
    """Anywhere in k-space and a little beyond it."""
    uniform = torch.rand(
        *leading, 5, 8, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64
    )
    return (uniform - 0.5) * 1.1 * torch.tensor(shape[::-1])


def _direct_sum(image: torch.Tensor, trajectory: torch.Tensor) -> torch.Tensor:
    """y_j = 1/√n Σ_r x_r e^(−2πi k_j·r/n), as it stands."""
    shape = image.shape[-3:]
    phases = [
        torch.polar(
            torch.ones((), dtype=torch.float64),
            -2 * math.pi * trajectory[..., column, None] * (torch.arange(n) - n // 2) / n,
        )
        for column, n in enumerate(reversed(shape))
    ]
    sums = torch.einsum("...zyx,mnx,mny,mnz->...mn", image, *phases)
    return sums / math.sqrt(math.prod(shape))


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("shape", SIZES)
def test_samples_are_the_direct_sum(shape, backend):
    image, trajectory = _noise(2, *shape), _trajectory(shape)
    expected = _direct_sum(image, trajectory)
    nufft_op = Nufft(trajectory, shape, backend=backend)
    assert (nufft_op(image.to(torch.complex64)) - expected).norm() < 2e-6 * expected.norm()
    if backend == "auto":
        exact = Nufft(trajectory, shape, dtype=torch.complex128)(image)
        assert (exact - expected).norm() < 1e-12 * expected.norm()


def test_a_matrix_of_512_is_as_accurate():
    """Where coordinates in single precision would be wrong by 3e-5."""
    image, trajectory = _noise(1, 512, 512), _trajectory((1, 512, 512))
    expected = _direct_sum(image, trajectory)
    samples = Nufft(trajectory, (1, 512, 512))(image.to(torch.complex64))
    assert (samples - expected).norm() < 2e-6 * expected.norm()


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("shape", [(1, 16, 16), (1, 15, 18), (6, 9, 8)])
def test_on_a_cartesian_trajectory_it_is_our_fourier_transform(shape, backend):
    image = _noise(3, *shape, dtype=torch.complex64)
    kz, ky, kx = torch.meshgrid(*(torch.arange(n) - n // 2 for n in shape), indexing="ij")
    trajectory = torch.stack([kx, ky, kz], dim=-1).flatten(0, 1).float()
    kspace = fourier.fft(image)
    nufft_op = Nufft(trajectory, shape, backend=backend)
    torch.testing.assert_close(nufft_op(image), kspace.flatten(-3, -2), rtol=0, atol=1e-5)
    torch.testing.assert_close(nufft_op.H(kspace.flatten(-3, -2)), image, rtol=0, atol=1e-5)


@pytest.mark.parametrize("backend", ["auto", "torch"])
@pytest.mark.parametrize("shape", SIZES)
def test_is_a_linear_operator_with_its_adjoint_and_normal(shape, backend):
    nufft_op = Nufft(_trajectory(shape), shape, dtype=torch.complex128, backend=backend)
    assert_linear_operator(nufft_op, (2, *shape), tolerance=1e-10 if backend == "auto" else 1e-5)


@pytest.mark.parametrize("shape", [(1, 11, 14), (4, 6, 5)])
def test_frames_have_trajectories_of_their_own_shared_by_their_coils(shape):
    trajectory = _trajectory(shape, 3, 1)
    nufft_op = Nufft(trajectory, shape, dtype=torch.complex128)
    images = _noise(2, 3, 4, *shape)
    samples = nufft_op(images)
    for frame in range(3):
        alone = Nufft(trajectory[frame, 0], shape, dtype=torch.complex128)(images[:, frame])
        torch.testing.assert_close(samples[:, frame], alone)
    assert_linear_operator(nufft_op, images.shape)


@pytest.mark.parametrize("backend", ["auto", "torch"])
def test_a_flat_trajectory_of_two_columns_does_for_a_slice(backend):
    shape = (1, 10, 12)
    image, trajectory = _noise(*shape, dtype=torch.complex64), _trajectory(shape)
    flat = Nufft(trajectory[..., :2], shape, backend=backend)(image)
    assert torch.equal(flat, Nufft(trajectory, shape, backend=backend)(image))


def test_derivatives_are_those_of_the_sum():
    shape = (1, 5, 6)
    nufft_op = Nufft(_trajectory(shape), shape, dtype=torch.complex128)
    image = _noise(*shape).requires_grad_()
    assert torch.autograd.gradcheck(nufft_op, image)
    assert torch.autograd.gradgradcheck(nufft_op, image)
    assert torch.autograd.gradcheck(nufft_op.H, nufft_op(image).detach().requires_grad_())


@pytest.mark.parametrize("n_coils", [1, 3, 5])
def test_bits_do_not_depend_on_the_number_of_threads(n_coils):
    shape = (1, 64, 64)
    uniform = torch.rand(200, 128, 2, generator=torch.Generator().manual_seed(0)) - 0.5
    nufft_op = Nufft(uniform * 64, shape)
    samples = _noise(n_coils, 200, 128, dtype=torch.complex64)
    n_threads = torch.get_num_threads()
    try:
        results = []
        for n in (1, 2, 2, 4):
            torch.set_num_threads(n)
            results.append(nufft_op.H(samples))
    finally:
        torch.set_num_threads(n_threads)
    assert all(torch.equal(result, results[0]) for result in results)


def test_agrees_with_sigpy():
    import sigpy

    shape = (1, 20, 26)
    image, trajectory = _noise(*shape), _trajectory(shape)
    coordinates = trajectory[..., [1, 0]].numpy()
    samples = Nufft(trajectory, shape, dtype=torch.complex128)(image)
    # SigPy's own error falls with its window's width; at 8 on twice the grid it is below 1e-6.
    theirs = sigpy.nufft(image[0].numpy(), coordinates, oversamp=2, width=8)
    np.testing.assert_allclose(samples, theirs, atol=1e-5 * np.abs(theirs).max())
    adjoint = Nufft(trajectory, shape, dtype=torch.complex128).H(samples)[0]
    theirs = sigpy.nufft_adjoint(samples.numpy(), coordinates, shape[1:], oversamp=2, width=8)
    np.testing.assert_allclose(adjoint, theirs, atol=1e-5 * np.abs(theirs).max())


def test_nothing_sampled_gives_a_dark_image():
    nufft_op = Nufft(torch.zeros(0, 8, 2), (1, 6, 6))
    assert nufft_op(_noise(1, 6, 6, dtype=torch.complex64)).shape == (0, 8)
    assert not nufft_op.H(torch.zeros(0, 8, dtype=torch.complex64)).any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"trajectory": torch.zeros(3, 4, 2), "shape": (4, 6, 6)},
            r"a trajectory \(readout, sample, 3 or more\)",
        ),
        ({"trajectory": torch.zeros(4, 2)}, "a trajectory"),
        ({"trajectory": torch.full((3, 4, 2), math.nan)}, "a finite trajectory"),
        ({"dtype": torch.float32}, "complex64 or complex128"),
    ],
)
def test_refuses_what_does_not_fit(change, message):
    given = {"trajectory": torch.zeros(3, 4, 2), "shape": (1, 6, 6)} | change
    with pytest.raises(InputError, match=message):
        Nufft(**given)


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [((1, 6, 7), torch.complex64), ((2, 1, 6, 6), torch.complex64), ((3, 4, 1, 6, 6), torch.complex128)],
)
def test_refuses_images_of_another_size_batch_or_dtype(shape, dtype):
    nufft_op = Nufft(torch.zeros(3, 1, 4, 5, 2), (1, 6, 6))
    with pytest.raises(InputError, match=r"NUFFT: expected torch.complex64 images"):
        nufft_op(torch.zeros(shape, dtype=dtype))


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("has_cufinufft", [True, False])
def test_cuda_agrees_with_the_cpu(has_cufinufft, monkeypatch):
    if has_cufinufft and not nonuniform_sums.cufinufft():
        pytest.skip("cufinufft cannot be loaded")
    if not has_cufinufft:
        monkeypatch.setattr("recon_core.nufft.cufinufft", lambda: None)
    for shape in ((1, 32, 30), (8, 12, 10)):
        image, trajectory = _noise(3, *shape, dtype=torch.complex64), _trajectory(shape)
        expected = _direct_sum(image.to(torch.complex128), trajectory)
        nufft_op = Nufft(trajectory.cuda(), shape)
        assert (nufft_op(image.cuda()).cpu() - expected).norm() < 1e-5 * expected.norm()
        assert_linear_operator(nufft_op, image.shape, dtype=torch.complex64, device="cuda", tolerance=1e-4)
