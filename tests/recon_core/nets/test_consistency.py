from collections.abc import Callable

import pytest
import torch

from recon_core import fourier
from recon_core.nets.consistency import Measured, data_consistency
from recon_core.nets.undersampled import Undersampled

N_SLICES, N_COILS, SHAPE = 2, 3, (6, 5)


def slices(*, coils: bool, mask_of_each: bool = True, seed: int = 0) -> tuple[torch.Tensor, Undersampled]:
    """Any image, and measurements of another, in complex128, with maps and masks of each slice's own."""
    generator = torch.Generator().manual_seed(seed)

    def random(*shape: int) -> torch.Tensor:
        return torch.randn(*shape, dtype=torch.complex128, generator=generator)

    lines = torch.rand(N_SLICES, SHAPE[0], 1, generator=generator) > 0.4
    points = torch.rand(N_SLICES, *SHAPE, generator=generator) > 0.5
    sampled = points if mask_of_each else lines.expand(N_SLICES, *SHAPE)
    coil_maps = torch.nn.functional.normalize(random(N_SLICES, N_COILS, *SHAPE), dim=1) if coils else None
    kspace = random(N_SLICES, N_COILS if coils else 1, *SHAPE)
    undersampled = Undersampled(
        kspace=torch.where(sampled[:, None], kspace, 0), sampled=sampled, coil_maps=coil_maps
    )
    return random(N_SLICES, *SHAPE), undersampled


def dense_encoding(undersampled: Undersampled, number: int) -> torch.Tensor:
    """A = M F S of one slice as a matrix, column by column."""
    n_pixels = SHAPE[0] * SHAPE[1]
    units = torch.eye(n_pixels, dtype=torch.complex128).reshape(n_pixels, 1, *SHAPE)
    maps = torch.ones(1, *SHAPE) if undersampled.coil_maps is None else undersampled.coil_maps[number]
    kspace = fourier.fft(units * maps, (-2, -1)) * undersampled.sampled[number]
    return kspace.flatten(1).T


@pytest.mark.parametrize("coils", [False, True])
@pytest.mark.parametrize("mask_of_each", [False, True])
def test_each_slice_is_the_dense_solution_of_its_own_problem(coils: bool, mask_of_each: bool) -> None:
    image, undersampled = slices(coils=coils, mask_of_each=mask_of_each)
    weight = 3.0
    consistent = data_consistency(image, Measured(undersampled), weight, n_iterations=40)
    for number in range(N_SLICES):
        A = dense_encoding(undersampled, number)
        matrix = torch.eye(A.shape[1]) + weight * A.mH @ A
        rhs = image[number].flatten() + weight * A.mH @ undersampled.kspace[number].flatten()
        expected = torch.linalg.solve(matrix, rhs).reshape(SHAPE)
        torch.testing.assert_close(consistent[number], expected)


def test_one_coil_weighs_its_samples_in_closed_form() -> None:
    image, undersampled = slices(coils=False)
    weight = 0.7
    after = fourier.fft(data_consistency(image, Measured(undersampled), weight), (-2, -1))
    before, measured = fourier.fft(image, (-2, -1)), undersampled.kspace[:, 0]
    weighed = (before + weight * measured) / (1 + weight)
    torch.testing.assert_close(after, torch.where(undersampled.sampled, weighed, before))


def test_hard_consistency_of_one_coil_keeps_the_samples_and_all_else() -> None:
    image, undersampled = slices(coils=False)
    after = fourier.fft(data_consistency(image, Measured(undersampled)), (-2, -1))
    expected = torch.where(undersampled.sampled, undersampled.kspace[:, 0], fourier.fft(image, (-2, -1)))
    torch.testing.assert_close(after, expected)


def test_hard_consistency_of_coils_replaces_the_samples_of_each_coil_and_combines() -> None:
    image, undersampled = slices(coils=True)
    coil_maps = undersampled.coil_maps
    assert coil_maps is not None
    coil_maps[:, :, 2] = 0  # outside the object
    replaced = torch.where(
        undersampled.sampled[:, None], undersampled.kspace, fourier.fft(coil_maps * image[:, None], (-2, -1))
    )
    expected = (coil_maps.conj() * fourier.ifft(replaced, (-2, -1))).sum(1)
    torch.testing.assert_close(data_consistency(image, Measured(undersampled)), expected)


@pytest.mark.parametrize("coils", [False, True])
def test_samples_of_the_image_itself_change_nothing(coils: bool) -> None:
    image, undersampled = slices(coils=coils)
    maps = 1 if undersampled.coil_maps is None else undersampled.coil_maps
    kspace = fourier.fft(maps * image[:, None], (-2, -1)) * undersampled.sampled[:, None]
    measured = Measured(
        Undersampled(kspace=kspace, sampled=undersampled.sampled, coil_maps=undersampled.coil_maps)
    )
    for weight in (None, 2.0):
        torch.testing.assert_close(data_consistency(image, measured, weight), image)


@pytest.mark.parametrize("weight", [None, 2.0])
def test_a_coil_of_map_one_is_a_single_coil(weight: float | None) -> None:
    image, single = slices(coils=False)
    mapped = Undersampled(
        kspace=single.kspace, sampled=single.sampled, coil_maps=torch.ones_like(single.kspace)
    )
    torch.testing.assert_close(
        data_consistency(image, Measured(mapped), weight), data_consistency(image, Measured(single), weight)
    )


def consistent_with(undersampled: Undersampled) -> Callable[..., torch.Tensor]:
    def consistent(
        image: torch.Tensor, zero_filled: torch.Tensor, weight: torch.Tensor | None = None
    ) -> torch.Tensor:
        measured = Measured(undersampled)
        measured.zero_filled = zero_filled
        return data_consistency(image, measured, weight, n_iterations=25)

    return consistent


@pytest.mark.parametrize("coils", [False, True])
def test_gradient_of_image_data_and_weight_is_that_of_finite_differences(coils: bool) -> None:
    image, undersampled = slices(coils=coils)
    zero_filled = undersampled.zero_filled().requires_grad_()
    weight = torch.tensor(1.5, dtype=torch.float64, requires_grad=True)
    inputs = (image.requires_grad_(), zero_filled, weight)
    assert torch.autograd.gradcheck(consistent_with(undersampled), inputs, fast_mode=True)


@pytest.mark.parametrize("coils", [False, True])
def test_gradient_of_hard_consistency_is_that_of_finite_differences(coils: bool) -> None:
    image, undersampled = slices(coils=coils)
    zero_filled = undersampled.zero_filled().requires_grad_()
    inputs = (image.requires_grad_(), zero_filled)
    assert torch.autograd.gradcheck(consistent_with(undersampled), inputs, fast_mode=True)


def test_what_is_kept_for_the_gradient_does_not_grow_with_the_iterations() -> None:
    image, undersampled = slices(coils=True)

    def n_kept(n_iterations: int) -> int:
        kept: list[torch.Tensor] = []
        measured = Measured(undersampled)

        def keep(tensor: torch.Tensor) -> torch.Tensor:
            kept.append(tensor)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            data_consistency(image.requires_grad_(), measured, 2.0, n_iterations=n_iterations)
        return len(kept)

    assert 0 < n_kept(20) == n_kept(2)
