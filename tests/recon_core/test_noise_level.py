import pytest
import torch

from recon_core.fourier import fft
from recon_core.masks import poisson_disc, random_lines
from recon_core.noise_level import calibration_noise_std, estimated_noise_std, periphery_noise_std
from recon_core.phantom import head_phantom
from recon_core.simulate import loop_coil_maps

SHAPE = (144, 160)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def head_kspace(n_coils: int = 8) -> torch.Tensor:
    return fft(loop_coil_maps(n_coils, SHAPE) * head_phantom(SHAPE), (-2, -1))


@pytest.mark.parametrize("sampled", [random_lines(SHAPE, 4), poisson_disc(SHAPE, 6)], ids=["lines", "points"])
@pytest.mark.parametrize("std", [0.05, 0.5])
def test_noise_in_the_periphery_is_found_to_a_tenth(sampled: torch.Tensor, std: float) -> None:
    kspace = (head_kspace() + std * noise(8, *SHAPE)) * sampled
    assert float(periphery_noise_std(kspace, sampled)) == pytest.approx(std, rel=0.1)


@pytest.mark.parametrize("sampled", [random_lines(SHAPE, 4), poisson_disc(SHAPE, 6)], ids=["lines", "points"])
@pytest.mark.parametrize("std", [0.02, 0.05, 0.5])
@pytest.mark.parametrize("n_coils", [4, 8, 16])
def test_noise_of_several_coils_is_found_to_three_tenths(
    sampled: torch.Tensor, std: float, n_coils: int
) -> None:
    kspace = (head_kspace(n_coils) + std * noise(n_coils, *SHAPE)) * sampled
    assert float(estimated_noise_std(kspace, sampled)) == pytest.approx(std, rel=0.3)


def test_signal_and_filters_in_the_periphery_do_not_matter() -> None:
    kspace = head_kspace() + 0.1 * noise(8, *SHAPE)
    everywhere = torch.ones(SHAPE, dtype=torch.bool)
    level = estimated_noise_std(kspace, everywhere)
    kspace[:, :40] *= 0.01
    kspace[:, -40:] *= 100
    torch.testing.assert_close(estimated_noise_std(kspace, everywhere), level)


def test_calibration_of_its_own_tells_the_noise_of_samples_without_a_centre() -> None:
    noisy = head_kspace() + 0.1 * noise(8, *SHAPE)
    sampled = torch.zeros(SHAPE, dtype=torch.bool)
    sampled[1::3] = True
    centre = noisy[:, 60:84, 68:92]
    level = estimated_noise_std(noisy * sampled, sampled, centre)
    torch.testing.assert_close(level, calibration_noise_std(centre))


def test_zero_filled_borders_do_not_count() -> None:
    sampled = random_lines(SHAPE, 3)
    kspace = (head_kspace() + 0.2 * noise(8, *SHAPE)) * sampled
    inner = torch.zeros(SHAPE, dtype=torch.bool)
    inner[20:-20, 30:-30] = True
    assert float(periphery_noise_std(kspace * inner, sampled)) == pytest.approx(0.2, rel=0.1)


def test_each_slice_of_a_batch_has_its_own_level() -> None:
    sampled = random_lines(SHAPE, 2)
    kspace = torch.stack([noise(4, *SHAPE), 3 * noise(4, *SHAPE, seed=1)]) * sampled
    levels = estimated_noise_std(kspace, sampled.expand(2, *SHAPE))
    torch.testing.assert_close(levels, torch.tensor([1.0, 3.0]), rtol=0.1, atol=0)


def test_nothing_sampled_has_no_noise() -> None:
    assert float(estimated_noise_std(torch.zeros(2, 8, 8, dtype=torch.complex64), torch.ones(8, 8) > 0)) == 0
