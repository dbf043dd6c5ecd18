import pytest
import torch

from recon_core.fourier import fft
from recon_core.masks import poisson_disc, random_lines
from recon_core.noise_level import estimated_noise_std
from recon_core.phantom import head_phantom
from recon_core.simulate import loop_coil_maps

SHAPE = (144, 160)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def head_kspace(n_coils: int = 8) -> torch.Tensor:
    return fft(loop_coil_maps(n_coils, SHAPE) * head_phantom(SHAPE), (-2, -1))


@pytest.mark.parametrize("sampled", [random_lines(SHAPE, 4), poisson_disc(SHAPE, 6)], ids=["lines", "points"])
@pytest.mark.parametrize("std", [0.05, 0.5])
def test_noise_of_a_scan_is_found_to_a_tenth(sampled: torch.Tensor, std: float) -> None:
    kspace = (head_kspace() + std * noise(8, *SHAPE)) * sampled
    assert float(estimated_noise_std(kspace, sampled)) == pytest.approx(std, rel=0.1)


def test_zero_filled_borders_do_not_count() -> None:
    sampled = random_lines(SHAPE, 3)
    kspace = (head_kspace() + 0.2 * noise(8, *SHAPE)) * sampled
    inner = torch.zeros(SHAPE, dtype=torch.bool)
    inner[20:-20, 30:-30] = True
    assert float(estimated_noise_std(kspace * inner, sampled)) == pytest.approx(0.2, rel=0.1)


def test_each_slice_of_a_batch_has_its_own_level() -> None:
    sampled = random_lines(SHAPE, 2)
    kspace = torch.stack([noise(4, *SHAPE), 3 * noise(4, *SHAPE, seed=1)]) * sampled
    levels = estimated_noise_std(kspace, sampled.expand(2, *SHAPE))
    torch.testing.assert_close(levels, torch.tensor([1.0, 3.0]), rtol=0.05, atol=0)


def test_nothing_sampled_has_no_noise() -> None:
    assert float(estimated_noise_std(torch.zeros(2, 8, 8, dtype=torch.complex64), torch.ones(8, 8) > 0)) == 0
