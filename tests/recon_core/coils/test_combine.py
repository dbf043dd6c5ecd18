"""Combined images against closed forms and one another."""

import pytest
import torch

from recon_core.coils.combine import adaptive_combine, adaptive_maps, combined_sets, rss, sense_combine
from recon_core.fourier import ifft
from recon_core.metrics import nrmse
from recon_core.simulate import simulate_acquisition
from tests.recon_core.coils.conftest import ReadRaw


def random_images(*shape: int) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(2))


def test_rss_is_the_norm_over_the_named_axis() -> None:
    images = random_images(3, 5, 1, 6, 7)
    torch.testing.assert_close(rss(images), (images.abs() ** 2).sum(1).sqrt())
    torch.testing.assert_close(rss(images, 0), (images.abs() ** 2).sum(0).sqrt())


def test_sense_combine_inverts_the_coils_and_is_zero_without_them() -> None:
    maps, image = random_images(4, 2, 5, 6), random_images(2, 5, 6)
    maps[:, 0, 3] = 0
    combined = sense_combine(maps * image, maps)
    image[0, 3] = 0
    torch.testing.assert_close(combined, image)


def test_sets_of_maps_combine_to_the_rss_of_the_coils_with_the_phase_of_the_first() -> None:
    # Orthonormal over coils at every pixel.
    maps = torch.linalg.qr(random_images(1, 5, 6, 4, 2)).Q.movedim((-1, -2), (0, 1))
    images = random_images(2, 1, 5, 6)
    coil_images = (maps * images[:, None]).sum(0)
    combined = combined_sets(images)
    torch.testing.assert_close(combined.abs(), rss(coil_images))
    torch.testing.assert_close(combined.angle(), images[0].angle())
    assert torch.equal(combined_sets(images[:1]), images[0])


def test_adaptive_maps_of_one_dimensional_signal_are_its_coil_vector() -> None:
    vector = random_images(5)
    images = vector[:, None, None, None] * random_images(2, 9, 8)
    maps = adaptive_maps(images)
    expected = vector / torch.linalg.vector_norm(vector)
    overlap = (expected.conj()[:, None, None, None] * maps).sum(0).abs()
    torch.testing.assert_close(overlap, torch.ones_like(overlap))


@pytest.mark.parametrize("shape", [(1, 1, 1), (1, 4, 9), (3, 6, 2)])
def test_sizes_below_the_box_work(shape: tuple[int, int, int]) -> None:
    maps = adaptive_maps(random_images(3, *shape))
    assert maps.shape == (3, *shape)
    torch.testing.assert_close(rss(maps), torch.ones(shape, dtype=torch.float64))


def test_adaptive_magnitude_is_that_of_rss_where_there_is_signal(read_raw: ReadRaw) -> None:
    images = ifft(read_raw("brain_8ch_230x180"))
    reference = rss(images)
    combined = adaptive_combine(images).abs()
    assert bool((combined <= reference * (1 + 1e-4)).all())
    head = reference > 0.1 * reference.max()
    assert nrmse(combined[head], reference[head]) < 0.02


def test_adaptive_background_is_below_the_rectified_noise_of_rss() -> None:
    scan = simulate_acquisition((64, 64), 8, oversampling=1, snr=20.0)
    images, truth = ifft(scan.kspace[0]), scan.ground_truth[0]
    empty = torch.nn.functional.max_pool2d(truth.abs(), 9, 1, 4) < 0.02
    assert int(empty.sum()) > 200
    assert float(adaptive_combine(images).abs()[empty].mean()) < 0.8 * float(rss(images)[empty].mean())


def test_adaptive_image_keeps_the_phase_up_to_the_coils() -> None:
    scan = simulate_acquisition((64, 64), 8, oversampling=1, snr=200.0)
    images = ifft(scan.kspace[0])
    vortex = torch.polar(torch.ones(64, 64), torch.linspace(0, 9, 64).expand(64, 64))
    head = rss(images) > 0.2 * rss(images).max()
    plain, turned = adaptive_combine(images), adaptive_combine(images * vortex)
    phase_rad = torch.angle(turned * (plain * vortex).conj())[head]
    assert float(phase_rad.abs().quantile(0.99)) < 0.1


def test_silence_stays_silent() -> None:
    images = random_images(4, 1, 12, 12)
    images[..., 6:] = 0
    combined = adaptive_combine(images)
    assert not bool(combined[..., 10:].any())
    assert bool(torch.isfinite(combined.abs()).all())
