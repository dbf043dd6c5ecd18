"""Compression keeps the energy that BART's keeps, and the image."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_core.coils.combine import rss
from recon_core.coils.compression import apply_coil_matrix, geometric_compression, svd_compression
from recon_core.coils.whitening import noise_covariance, whitening_matrix
from recon_core.errors import CalibrationError, InputError
from recon_core.fourier import ifft
from recon_core.metrics import nrmse
from tests.conftest import RunBart
from tests.recon_core.coils.conftest import ReadRaw, centre


def energy(kspace: torch.Tensor) -> float:
    return float(kspace.abs().square().sum())


def random_kspace(*shape: int, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(1))


@settings(deadline=None, max_examples=25)
@given(n_coils=st.integers(1, 6), n_virtual=st.integers(1, 6), ky=st.integers(1, 5), kx=st.integers(7, 9))
def test_rows_are_orthonormal(n_coils: int, n_virtual: int, ky: int, kx: int) -> None:
    calibration = random_kspace(n_coils, 2, ky, kx)
    for matrix in (svd_compression(calibration, n_virtual), geometric_compression(calibration, n_virtual)):
        assert matrix.shape[-2:] == (min(n_virtual, n_coils), n_coils)
        identity = torch.eye(matrix.shape[-2], dtype=matrix.dtype)
        torch.testing.assert_close(matrix @ matrix.mH, identity.expand(*matrix.shape[:-2], -1, -1))


@pytest.mark.parametrize("method", [svd_compression, geometric_compression])
def test_keeping_every_coil_keeps_the_rss_image(method: object) -> None:
    kspace = random_kspace(5, 3, 6, 7)
    compressed = apply_coil_matrix(method(kspace, 5), kspace)  # type: ignore[operator]
    torch.testing.assert_close(rss(ifft(compressed)), rss(ifft(kspace)))


@pytest.mark.parametrize("n_virtual", [2, 4])
def test_svd_keeps_the_energy_bart_keeps(head: torch.Tensor, bart: RunBart, n_virtual: int) -> None:
    (reference,) = bart(f"cc -S -A -p {n_virtual}", head)
    compressed = apply_coil_matrix(svd_compression(head, n_virtual), head)
    assert energy(compressed) == pytest.approx(energy(reference), rel=1e-4)


@pytest.mark.parametrize("n_virtual", [2, 3])
def test_geometric_keeps_at_least_the_energy_bart_keeps(
    head: torch.Tensor, bart: RunBart, n_virtual: int
) -> None:
    (reference,) = bart(f"cc -G -A -p {n_virtual}", head)
    compressed = apply_coil_matrix(geometric_compression(head, n_virtual), head)
    assert energy(compressed) >= energy(reference) * (1 - 1e-4)
    plain = apply_coil_matrix(svd_compression(head, n_virtual), head)
    assert energy(compressed) > energy(plain)


@pytest.mark.parametrize(("n_virtual", "limit"), [(4, 0.02), (6, 0.005)])
def test_compressed_real_scan_keeps_its_image(read_raw: ReadRaw, n_virtual: int, limit: float) -> None:
    kspace = read_raw("brain_16ch_96x96")
    full = rss(ifft(kspace))
    by_svd = rss(ifft(apply_coil_matrix(svd_compression(centre(kspace), n_virtual), kspace)))
    matrix = geometric_compression(centre(kspace), n_virtual, n_readout=kspace.shape[-1])
    by_geometry = rss(ifft(apply_coil_matrix(matrix, kspace)))
    assert nrmse(by_geometry, full) < nrmse(by_svd, full)
    assert nrmse(by_geometry, full) < limit


def test_aligned_matrices_vary_slowly_along_the_readout(head: torch.Tensor) -> None:
    matrices = geometric_compression(centre(head), 4, n_readout=head.shape[-1])
    steps = torch.linalg.matrix_norm(matrices.diff(dim=0))
    inside = steps[head.shape[-1] // 4 : -head.shape[-1] // 4]
    assert float(inside.max()) < 0.3
    # A random rotation of four coils would be about sqrt(2 * 4) away from its neighbour.


def test_energy_picks_the_fewest_coils_that_reach_it() -> None:
    orthonormal = torch.linalg.qr(random_kspace(50, 4))[0].mT
    strengths = torch.tensor([10.0, 1.0, 3.0, 0.1], dtype=torch.float64)
    calibration = (strengths[:, None] * orthonormal)[:, None, None]
    for share, wanted in ((0.9, 1), (0.95, 2), (0.999, 3), (0.99999, 4)):
        assert len(svd_compression(calibration, energy=share)) == wanted
    assert len(svd_compression(calibration)) == 4


def test_phase_of_each_virtual_coil_is_fixed_by_its_largest_weight(head: torch.Tensor) -> None:
    turned = svd_compression(head * torch.exp(torch.tensor(0.7j)), 3)
    torch.testing.assert_close(turned, svd_compression(head, 3), rtol=0, atol=1e-4)


def test_matrices_compose_with_whitening(head: torch.Tensor) -> None:
    noise = random_kspace(8, 500, dtype=torch.complex64)
    whitening = whitening_matrix(noise_covariance(noise))
    compression = svd_compression(apply_coil_matrix(whitening, head), 4)
    at_once = apply_coil_matrix(compression @ whitening, head)
    torch.testing.assert_close(at_once, apply_coil_matrix(compression, apply_coil_matrix(whitening, head)))
    white = noise_covariance(compression @ whitening @ noise)
    torch.testing.assert_close(white, torch.eye(4, dtype=torch.complex64), rtol=0, atol=1e-4)


def test_leading_axes_pass_through() -> None:
    kspace = random_kspace(3, 2, 4, 1, 5, 6)
    plain, along_x = random_kspace(2, 4), random_kspace(6, 2, 4)
    for matrix in (plain, along_x):
        batch = apply_coil_matrix(matrix, kspace)
        assert batch.shape == (3, 2, 2, 1, 5, 6)
        torch.testing.assert_close(batch[1, 1], apply_coil_matrix(matrix, kspace[1, 1]))


def test_wrong_sizes_are_refused() -> None:
    kspace = random_kspace(4, 1, 5, 6)
    with pytest.raises(InputError, match="calibrate on this scan's coils"):
        apply_coil_matrix(random_kspace(2, 3), kspace)
    with pytest.raises(InputError, match="readout of 7 samples, got 6"):
        apply_coil_matrix(random_kspace(7, 2, 4), kspace)
    with pytest.raises(InputError, match="coil, kz, ky, kx"):
        svd_compression(kspace[0], 2)


@pytest.mark.parametrize("value", [0.0, float("nan")])
def test_calibration_without_signal_is_refused(value: float) -> None:
    empty = torch.full((4, 1, 5, 6), value, dtype=torch.complex64)
    for method in (svd_compression, geometric_compression):
        with pytest.raises(CalibrationError, match="check the calibration lines"):
            method(empty, 2)
