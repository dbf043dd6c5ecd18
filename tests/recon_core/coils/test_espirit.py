"""ESPIRiT against SigPy, BART, the simulated truth, and its own matrices decomposed pixel by pixel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_core.coils.combine import rss, sense_combine
from recon_core.coils.espirit import espirit
from recon_core.errors import CalibrationError, InputError
from recon_core.fourier import fft, ifft, resize
from recon_core.metrics import nrmse
from recon_core.simulate import loop_coil_maps, simulate_acquisition
from tests.conftest import RunBart
from tests.recon_core.coils.conftest import ReadRaw, centre

REAL_SCANS = ["brain_8ch_256x256", "brain_8ch_230x180", "brain_16ch_96x96"]
BART = "ecalib -m1 -c0 -t 0.0004 -k 6:6:1 -r 24:24:1"
"""BART's threshold is on squared singular values: 0.0004 is our 0.02."""


def spatial_shape(kspace: torch.Tensor) -> tuple[int, int, int]:
    _, z, y, x = kspace.shape
    return z, y, x


def overlap(maps: torch.Tensor, reference: torch.Tensor) -> torch.Tensor:
    """Complex normalised inner product over the coils, (set, z, y, x)."""
    return (reference.conj() * maps).sum(1) / (rss(reference) * rss(maps))


def object_mask(kspace: torch.Tensor) -> torch.Tensor:
    image = rss(ifft(kspace))
    return image > 0.1 * image.max()


def exact_eigenpairs(
    calibration: torch.Tensor, shape: tuple[int, int, int], threshold: float = 0.02
) -> tuple[torch.Tensor, torch.Tensor]:
    """ESPIRiT as its paper writes it: kernels zero-padded and transformed, a decomposition of every pixel."""
    n_coils, widths = len(calibration), [min(6, size) for size in calibration.shape[1:]]
    windows = calibration.to(torch.complex128)
    for axis, width in enumerate(widths, start=1):
        windows = windows.unfold(axis, width, 1)
    rows = windows.permute(1, 2, 3, 0, 4, 5, 6).flatten(0, 2).flatten(1)
    _, singular, kernels = torch.linalg.svd(rows, full_matrices=False)
    kernels = kernels[singular > threshold * singular[0]].reshape(-1, n_coils, *widths)
    in_image = ifft(resize(kernels.flip(2, 3, 4).conj(), shape)) * torch.tensor(shape).prod().sqrt()
    covariance = torch.einsum("rizyx,rjzyx->zyxij", in_image.conj(), in_image)
    values, vectors = torch.linalg.eigh(covariance / torch.tensor(widths).prod())
    return vectors.permute(4, 3, 0, 1, 2).flip(0), values.permute(3, 0, 1, 2).flip(0)


def test_every_pixel_is_the_dominant_eigenpair_of_its_matrix(head: torch.Tensor) -> None:
    shape = spatial_shape(head)
    vectors, values = exact_eigenpairs(centre(head), shape)
    found = espirit(centre(head), shape, threshold=0.02, crop=0)
    error = (found.eigenvalues[0] - values[0]).abs()
    inside = object_mask(head)
    assert float(error[inside].max()) < 1e-3
    # Outside, where two eigenvalues may cross, the iteration has not always ended.
    assert float(error.quantile(0.999)) < 1e-2
    assert float(error.max()) < 0.05
    alike = overlap(found.maps.to(vectors.dtype), vectors[:1])[0][inside].abs()
    assert float(alike.min()) > 0.999


@pytest.mark.parametrize("name", REAL_SCANS)
def test_real_maps_agree_with_sigpy(read_raw: ReadRaw, name: str) -> None:
    kspace = read_raw(name)
    shape, inside = spatial_shape(kspace), object_mask(kspace)
    ours = espirit(centre(kspace), shape, threshold=0.02, crop=0)
    sigpys = espirit(centre(kspace), shape, threshold=0.02, crop=0, backend="sigpy")
    alike = overlap(ours.maps, sigpys.maps)[0][inside]
    assert float(alike.abs().quantile(0.01)) > 0.999
    assert float(alike.real.quantile(0.01)) > 0.999  # the phase reference is the same
    assert float((ours.eigenvalues - sigpys.eigenvalues)[0][inside].abs().quantile(0.999)) < 1e-2


@pytest.mark.parametrize("name", REAL_SCANS)
def test_real_maps_agree_with_bart(read_raw: ReadRaw, bart: RunBart, name: str) -> None:
    kspace = read_raw(name)
    shape, inside = spatial_shape(kspace), object_mask(kspace)
    ours = espirit(centre(kspace), shape, threshold=0.02, crop=0)
    maps, eigenvalues = bart(BART, kspace, n_outputs=2)
    alike = overlap(ours.maps, maps.reshape(ours.maps.shape))[0][inside]
    assert float(alike.abs().quantile(0.01)) > 0.999
    # Both refer the phase to the first principal coil, whose own phase is free: one angle for all pixels.
    assert float(alike.mean().abs()) > 0.999
    difference = ours.eigenvalues - eigenvalues.real.reshape(ours.eigenvalues.shape)
    assert float(difference[0][inside].abs().quantile(0.99)) < 1e-2


def test_simulated_maps_are_the_coils_up_to_phase() -> None:
    scan = simulate_acquisition((96, 80), 8, oversampling=1, snr=200.0)
    kspace = scan.kspace[0]
    found = espirit(centre(kspace), spatial_shape(kspace))
    inside = scan.ground_truth[0].abs() > 0.1
    alike = overlap(found.maps, scan.coil_maps)[0][inside].abs()
    assert float(alike.quantile(0.01)) > 0.999


def test_maps_have_unit_norm_inside_and_are_zero_where_cropped(head: torch.Tensor) -> None:
    maps, eigenvalues = espirit(centre(head), spatial_shape(head), crop=0.9)
    norm, kept = rss(maps), eigenvalues >= 0.9
    torch.testing.assert_close(norm, kept.to(norm.dtype))
    assert float(eigenvalues.max()) < 1 + 1e-4
    assert bool(kept[0][object_mask(head)].all())
    assert 0.1 < float((~kept).float().mean()) < 0.8


def test_sense_combination_with_the_maps_is_the_rss_image(head: torch.Tensor) -> None:
    images, inside = ifft(head), object_mask(head)
    maps, _ = espirit(centre(head), spatial_shape(head))
    combined = sense_combine(images, maps[0]).abs()
    assert nrmse(combined[inside], rss(images)[inside]) < 0.02


def test_automatic_threshold_keeps_noise_out_of_the_kernels() -> None:
    scan = simulate_acquisition((80, 80), 8, oversampling=1, snr=4.0)
    kspace = scan.kspace[0]
    signal = torch.nn.functional.max_pool2d(scan.ground_truth[0].abs(), 15, 1, 7)
    inside, empty = scan.ground_truth[0].abs() > 0.1, signal < 0.02
    fixed = espirit(centre(kspace), spatial_shape(kspace), threshold=0.02)
    automatic = espirit(centre(kspace), spatial_shape(kspace))
    # With a threshold below the noise, noise passes for signal everywhere and nothing is cropped.
    assert float(fixed.eigenvalues[0][empty].median()) > 0.95
    assert float(automatic.eigenvalues[0][empty].median()) < 0.7
    assert float((rss(automatic.maps)[0][inside] > 0).float().mean()) > 0.97
    alike = overlap(automatic.maps, scan.coil_maps)[0][inside & (rss(automatic.maps)[0] > 0)].abs()
    assert float(alike.quantile(0.01)) > 0.98


def test_automatic_threshold_is_the_customary_one_without_much_noise(head: torch.Tensor) -> None:
    shape = spatial_shape(head)
    automatic = espirit(centre(head), shape).eigenvalues
    torch.testing.assert_close(automatic, espirit(centre(head), shape, threshold=0.02).eigenvalues)


def test_two_sets_span_what_a_folded_field_of_view_needs(read_raw: ReadRaw) -> None:
    folded = read_raw("brain_16ch_96x96")[:, :, ::2]
    shape, inside = spatial_shape(folded), object_mask(folded)
    vectors, values = exact_eigenpairs(centre(folded), shape)
    found = espirit(centre(folded), shape, threshold=0.02, crop=0, n_maps=2)
    both = inside & (values[1] > 0.9)
    assert float(both.float().mean()) > 0.2
    cosines = torch.linalg.svdvals(
        torch.einsum("iczyx,jczyx->zyxij", vectors[:2].conj(), found.maps.to(vectors.dtype))
    )[both]
    assert float(cosines.quantile(0.01)) > 0.999
    assert float((found.eigenvalues - values[:2])[:, both].abs().quantile(0.999)) < 1e-2
    assert float((found.maps[0].conj() * found.maps[1]).sum(0).abs().max()) < 1e-5


def test_folded_image_needs_both_sets(read_raw: ReadRaw) -> None:
    images = ifft(read_raw("brain_16ch_96x96")[:, :, ::2])
    folded = fft(images)
    maps, _ = espirit(centre(folded), spatial_shape(folded), n_maps=2)
    missing = []
    for n_maps in (1, 2):
        weights = (maps[:n_maps].conj() * images).sum(1, keepdim=True)
        missing.append(nrmse((maps[:n_maps] * weights).sum(0), images))
    assert missing[1] < 0.05 < 0.2 < missing[0]


@pytest.fixture(scope="module")
def volume() -> torch.Tensor:
    """k-space (coil, kz, ky, kx) of three ellipsoids seen by six coils that differ along z too."""
    z, y, x = torch.meshgrid(*(torch.linspace(-1, 1, n) for n in (40, 60, 56)), indexing="ij")
    image = ((z / 0.8) ** 2 + (y / 0.7) ** 2 + (x / 0.75) ** 2 < 1).float()
    image += 0.8 * (((z - 0.2) / 0.3) ** 2 + ((y + 0.1) / 0.2) ** 2 + (x / 0.3) ** 2 < 1)
    image -= 0.5 * (((z + 0.3) / 0.2) ** 2 + (y / 0.3) ** 2 + ((x - 0.2) / 0.2) ** 2 < 1)
    maps = torch.stack(
        [
            torch.exp(1j * (angle + 0.7 * x - 0.5 * z * y))
            / (0.4 + (z - height) ** 2 + (y - 1.3 * angle.sin()) ** 2 + (x - 1.3 * angle.cos()) ** 2)
            for angle, height in zip(torch.arange(6) * 1.05, (-1.0, 1.0) * 3, strict=True)
        ]
    )
    return resize(fft((maps * image).to(torch.complex64)), (20, 31, 28))


def test_volumes_agree_with_sigpy(volume: torch.Tensor) -> None:
    calibration, shape = resize(volume, (12, 12, 12)), spatial_shape(volume)
    ours = espirit(calibration, shape, kernel_width=4, threshold=0.02, crop=0)
    sigpys = espirit(calibration, shape, kernel_width=4, threshold=0.02, crop=0, backend="sigpy")
    inside = object_mask(volume)
    assert float(overlap(ours.maps, sigpys.maps)[0][inside].real.quantile(0.01)) > 0.999
    assert float((ours.eigenvalues - sigpys.eigenvalues)[0][inside].abs().max()) < 1e-2


def test_volumes_agree_with_bart(volume: torch.Tensor, bart: RunBart) -> None:
    calibration, shape = resize(volume, (12, 14, 13)), spatial_shape(volume)
    ours = espirit(calibration, shape, kernel_width=4, threshold=0.02, crop=0)
    maps, eigenvalues = bart("ecalib -m1 -c0 -t 0.0004 -k 4:4:4 -r 13:14:12", volume, n_outputs=2)
    inside = object_mask(volume)
    alike = overlap(ours.maps, maps.reshape(ours.maps.shape))[0][inside]
    assert float(alike.abs().quantile(0.01)) > 0.999
    difference = ours.eigenvalues - eigenvalues.real.reshape(ours.eigenvalues.shape)
    assert float(difference[0][inside].abs().max()) < 1e-2


@settings(deadline=None, max_examples=20)
@given(
    n_coils=st.integers(2, 4),
    sizes=st.tuples(st.integers(11, 14), st.integers(11, 14)),
    margin=st.tuples(st.integers(0, 9), st.integers(0, 9)),
)
def test_any_odd_or_even_size_gives_the_exact_eigenvalues(
    n_coils: int, sizes: tuple[int, int], margin: tuple[int, int]
) -> None:
    shape = (1, sizes[0] + margin[0], sizes[1] + margin[1])
    coils = loop_coil_maps(n_coils, shape[1:])[:, None]
    calibration = resize(fft(coils.to(torch.complex128)), sizes)
    _, values = exact_eigenpairs(calibration, shape)
    found = espirit(calibration, shape, threshold=0.02, crop=0)
    assert found.maps.dtype == torch.complex128
    assert found.maps.shape == (1, n_coils, *shape)
    assert float((found.eigenvalues[0] - values[0]).abs().max()) < 1e-2


def test_one_coil_sees_everything_alike(head: torch.Tensor) -> None:
    maps, eigenvalues = espirit(centre(head[:1]), (1, 30, 26))
    torch.testing.assert_close(maps, torch.ones(1, 1, 1, 30, 26, dtype=torch.complex64))
    torch.testing.assert_close(eigenvalues, torch.ones(1, 1, 30, 26))


def test_too_little_calibration_says_how_much_is_needed(head: torch.Tensor) -> None:
    for sizes in ((5, 24), (6, 24), (10, 10)):
        with pytest.raises(CalibrationError, match=r"at least \(1, 11, 11\)"):
            espirit(resize(head, sizes), spatial_shape(head))
    few_lines = resize(head, (8, 24))
    assert espirit(few_lines, spatial_shape(head)).maps.shape == (1, 8, 1, 96, 80)


def test_calibration_larger_than_the_image_is_refused(head: torch.Tensor) -> None:
    with pytest.raises(CalibrationError, match=r"at most \(1, 20, 80\)"):
        espirit(centre(head), (1, 20, 80))


def test_calibration_without_signal_is_refused() -> None:
    for value in (0.0, float("inf")):
        with pytest.raises(CalibrationError, match="finite calibration data with signal"):
            espirit(torch.full((4, 1, 16, 16), value, dtype=torch.complex64), (1, 32, 32))


def test_what_sigpy_cannot_do_is_refused(head: torch.Tensor) -> None:
    with pytest.raises(InputError, match="use backend 'torch'"):
        espirit(centre(head), spatial_shape(head), backend="sigpy")
    with pytest.raises(InputError, match="1 to 8 sets"):
        espirit(centre(head), spatial_shape(head), n_maps=9)


@pytest.mark.cuda
def test_gpu_gives_the_maps_of_the_cpu(head: torch.Tensor) -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    on_cpu = espirit(centre(head), spatial_shape(head), crop=0)
    on_gpu = espirit(centre(head).cuda(), spatial_shape(head), crop=0)
    inside = object_mask(head)
    alike = overlap(on_cpu.maps, on_gpu.maps.cpu())[0][inside]
    assert float(alike.real.min()) > 0.9999
