"""The SENSE operator, against SigPy and its own laws."""

import pytest
import sigpy.mri.linop
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from recon_core.sense_operator import SenseOperator
from recon_core.solve.power_method import largest_eigenvalue
from recon_core.testing import assert_linear_operator
from tests.recon_core.sense_problems import noise, smooth_maps, undersampled


@pytest.mark.parametrize("kind", ["everything", "ky", "kx", "kz, ky", "ky, kx", "kz, kx"])
@pytest.mark.parametrize(
    "shape", [(4, 1, 6, 8), (3, 5, 7, 6), (2, 3, 3, 5, 4), (2, 3, 1, 1, 6), (1, 2, 1, 9, 1)]
)
def test_sense_is_a_linear_operator_in_2d_and_3d_with_and_without_sets(
    shape: tuple[int, ...], kind: str
) -> None:
    sense_op = SenseOperator(noise(*shape), undersampled(shape[-3:], kind))
    image_shape = (*shape[:-4], *shape[-3:])
    assert_linear_operator(sense_op, image_shape)
    assert_linear_operator(sense_op.normal, image_shape)
    assert_linear_operator(sense_op, (2, 3, *image_shape))


@pytest.mark.parametrize("matrix", [(1, 9, 8), (4, 5, 7)])
def test_sense_is_the_operator_of_sigpy(matrix: tuple[int, int, int]) -> None:
    coil_maps, sampled = noise(3, *matrix), undersampled(matrix, "ky, kx").expand(matrix)
    image = noise(*matrix, seed=1)
    reference = sigpy.mri.linop.Sense(coil_maps.numpy(), weights=sampled.double().numpy())
    expected = torch.from_numpy(reference(image.numpy()))
    torch.testing.assert_close(SenseOperator(coil_maps, sampled)(image), expected)


def test_normal_operator_takes_many_coils_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon_core.sense_operator.COIL_BLOCK_ELEMENTS", 2 * 3 * 5 * 4)
    assert_linear_operator(SenseOperator(noise(2, 5, 3, 5, 4), undersampled((3, 5, 4), "ky")), (2, 3, 5, 4))


@pytest.mark.parametrize("shape", [(3, 1, 5, 6), (2, 3, 2, 5, 4)])
def test_gradients_through_the_operators_are_those_of_least_squares(shape: tuple[int, ...]) -> None:
    sense_op = SenseOperator(noise(*shape), undersampled(shape[-3:], "ky, kx"))
    image = noise(*shape[:-4], *shape[-3:], seed=1).requires_grad_()
    (through_forward,) = torch.autograd.grad(sense_op(image).abs().square().sum() / 2, image)
    (through_normal,) = torch.autograd.grad((sense_op.normal(image).conj() * image).real.sum() / 2, image)
    (through_adjoint,) = torch.autograd.grad(sense_op.H(sense_op(image)).abs().square().sum() / 2, image)
    N = sense_op.normal
    torch.testing.assert_close(through_forward, N(image.detach()))
    torch.testing.assert_close(through_normal, N(image.detach()))
    torch.testing.assert_close(through_adjoint, N(N(image.detach())))


@given(st.booleans(), st.floats(0.1, 3), st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_no_eigenvalue_is_above_the_bound(has_sets: bool, scale: float, seed: int) -> None:
    shape = (2, 4, 2, 5, 6) if has_sets else (4, 2, 5, 6)
    sense_op = SenseOperator(scale * noise(*shape, seed=seed), undersampled((2, 5, 6), "ky, kx"))
    start = noise(*shape[:-4], *shape[-3:], seed=seed + 1)
    largest = largest_eigenvalue(sense_op.normal, start, n_iterations=40)
    assert 0 < largest <= sense_op.max_eigenvalue_bound() * (1 + 1e-12)


@pytest.mark.parametrize("shape", [(6, 1, 8, 8), (2, 6, 1, 8, 8)])
def test_the_bound_is_one_for_orthonormal_maps(shape: tuple[int, ...]) -> None:
    sense_op = SenseOperator(smooth_maps(*shape), undersampled((1, 8, 8), "ky"))
    assert sense_op.max_eigenvalue_bound() == pytest.approx(1)


def test_axes_not_transformed_count_slices_of_their_own() -> None:
    coil_maps, sampled, image = noise(4, 3, 6, 5), undersampled((3, 6, 5), "ky, kx"), noise(3, 6, 5, seed=1)
    sampled = torch.stack([sampled, sampled.roll(1, 0), sampled.roll(1, 1)])
    stack = SenseOperator(coil_maps, sampled, axes=(-2, -1))
    assert_linear_operator(stack, (3, 6, 5))
    assert_linear_operator(stack.normal, (3, 6, 5))
    for number in range(3):
        of_one = slice(number, number + 1)
        alone = SenseOperator(coil_maps[:, of_one], sampled[of_one])
        torch.testing.assert_close(stack(image)[:, of_one], alone(image[of_one]))
        torch.testing.assert_close(stack.normal(image)[of_one], alone.normal(image[of_one]))
