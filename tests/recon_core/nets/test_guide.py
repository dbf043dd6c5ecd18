"""A guide on the target's grid, and what it explains of an image."""

from dataclasses import replace

import pytest
import torch

from recon_core.fourier import ifft, resize
from recon_core.nets.guide import WINDOW, explained, guide_magnitudes, present
from recon_core.nets.undersampled import Undersampled
from tests.recon_core.nets.small_scan import undersampled_slices

SHAPE = (20, 17)


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex64, generator=torch.Generator().manual_seed(seed))


def guided(guide: torch.Tensor | None) -> Undersampled:
    return replace(undersampled_slices(3), guide=guide)


@pytest.mark.parametrize("shape", [(40, 33), (20, 17), (15, 26), (13, 11)])
def test_a_guide_of_any_matrix_is_the_same_image_on_the_grid_of_the_slices(shape: tuple[int, int]) -> None:
    kspace = random(2, 9, 7)  # of an image that the coarsest of the grids resolves

    def image(on: tuple[int, int]) -> torch.Tensor:
        return ifft(resize(kspace, on), (-2, -1)) * (on[0] * on[1]) ** 0.5

    torch.testing.assert_close(guide_magnitudes(guided(image(shape))), image(SHAPE).abs())


def test_slices_without_a_guide_have_one_of_zeros() -> None:
    assert torch.equal(guide_magnitudes(guided(None)), torch.zeros(2, *SHAPE))
    guide = torch.stack([torch.zeros(SHAPE), torch.ones(SHAPE)])
    assert present(guide).flatten().tolist() == [0, 1]


def test_a_normalised_guide_has_its_own_intensity() -> None:
    guide = torch.rand(2, 30, 20, generator=torch.Generator().manual_seed(0))
    bright, dim = (guided(factor * guide).normalised()[0] for factor in (300.0, 0.01))
    assert bright.guide is not None
    assert dim.guide is not None
    torch.testing.assert_close(bright.guide, dim.guide)
    torch.testing.assert_close(bright.guide.flatten(1).sort().values[:, 593], torch.ones(2))
    torch.testing.assert_close(bright.kspace, guided(None).normalised()[0].kspace)


@pytest.mark.parametrize("contrast", [2.0, -0.5, 1j])
def test_an_image_of_any_contrast_is_explained_by_its_guide(contrast: complex) -> None:
    guide = 3 * torch.rand(1, 24, 20, generator=torch.Generator().manual_seed(1))
    image = contrast * guide + (1 - 2j)
    in_image, share, _ = explained(image, guide)
    torch.testing.assert_close(in_image, image, rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(share, torch.ones_like(share), rtol=1e-2, atol=0)


def test_of_an_image_that_has_nothing_of_the_guide_little_is_explained() -> None:
    guide = torch.rand(1, 64, 64, generator=torch.Generator().manual_seed(1))
    share = explained(random(1, 64, 64), guide).share
    assert float(share.mean()) == pytest.approx(1 / WINDOW**2, rel=0.2)


def test_what_is_explained_is_the_least_squares_fit_of_every_neighbourhood() -> None:
    image, guide = random(1, 19, 21).to(torch.complex128), torch.rand(1, 19, 21, dtype=torch.float64)
    in_image, share, _ = explained(image, guide)
    half = WINDOW // 2
    fits = torch.zeros(19, 21, 2, dtype=torch.complex128)
    for y in range(19):
        for x in range(21):
            rows, columns = (slice(max(0, c - half), c + half + 1) for c in (y, x))
            around, of_guide = image[0, rows, columns].flatten(), guide[0, rows, columns].flatten()
            matrix = torch.stack([of_guide, torch.ones_like(of_guide)], dim=1).to(torch.complex128)
            fits[y, x] = torch.linalg.lstsq(matrix, around[:, None]).solution[:, 0]
            left = around - matrix @ fits[y, x]
            unexplained = float(left.abs().square().mean() / (around - around.mean()).abs().square().mean())
            assert float(share[0, 0, y, x]) == pytest.approx(1 - unexplained, abs=0.01)
    a, b = fits[6 - half : 7 + half, 8 - half : 9 + half].mean((0, 1))
    torch.testing.assert_close(in_image[0, 6, 8], a * guide[0, 6, 8] + b, rtol=0.01, atol=0.01)


def test_the_phase_of_a_neighbourhood_is_of_magnitude_one_and_follows_the_image() -> None:
    y = torch.linspace(-1, 1, 24)
    phase = torch.polar(torch.ones(1, 24, 24), (2 * y[:, None] + y)[None])
    found = explained(5 * phase, torch.ones(1, 24, 24)).phase
    inside = (slice(None), slice(4, -4), slice(4, -4))
    torch.testing.assert_close(found[inside], phase[inside], rtol=0, atol=0.02)
