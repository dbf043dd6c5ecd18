"""Temporal bases against NumPy's singular value decomposition, of signals of known rank."""

import numpy as np
import pytest
import torch

from recon_core.dynamic.temporal_basis import at_times, joint_basis, temporal_basis
from recon_core.errors import InputError


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex64) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def navigators(rank: int, n_times: int = 300, is_real: bool = True) -> torch.Tensor:
    """(coil, sample, time) of that rank; time courses are real times a phase of each sample, or complex."""
    courses = noise(rank, n_times, dtype=torch.float32 if is_real else torch.complex64)
    return torch.einsum("csl,lt->cst", noise(4, 20, rank, seed=1), courses.to(torch.complex64))


def projected(signals: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    return signals @ rows.mH.to(signals.dtype) @ rows.to(signals.dtype)


@pytest.mark.parametrize("n_times", [50, 300])
@pytest.mark.parametrize("is_real", [True, False])
def test_rows_are_the_right_singular_vectors_numpy_finds(n_times: int, is_real: bool) -> None:
    signals = noise(4, 20, n_times)
    basis = temporal_basis(signals, rank=5, is_real=is_real)
    matrix = signals.reshape(80, n_times).numpy()
    stacked = np.concatenate([matrix.real, matrix.imag]) if is_real else matrix
    _, singular, right = np.linalg.svd(stacked, full_matrices=False)
    assert basis.rows.is_complex() != is_real
    torch.testing.assert_close(basis.singular_values[:40], torch.from_numpy(singular[:40]), rtol=1e-4, atol=0)
    expected = torch.from_numpy(right[:5].T.conj() @ right[:5])
    torch.testing.assert_close(basis.rows.mH @ basis.rows, expected, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        basis.rows @ basis.rows.mH, torch.eye(5, dtype=basis.rows.dtype), rtol=0, atol=1e-5
    )


def test_energy_gives_the_fewest_rows_that_hold_it() -> None:
    signals = torch.diag(torch.tensor([4.0, 3.0, 2.0, 1.0]))
    assert [temporal_basis(signals, energy=e).rank for e in (0.5, 16 / 30, 0.6, 0.83, 0.84, 1.0)] == [
        1,
        1,
        2,
        2,
        3,
        4,
    ]
    assert temporal_basis(signals, rank=2).energy == pytest.approx(25 / 30)


def test_signals_of_constant_phase_have_a_real_basis_of_their_rank() -> None:
    signals = navigators(6)
    basis = temporal_basis(signals, energy=1.0)
    assert basis.rank == 6
    torch.testing.assert_close(projected(signals, basis.rows), signals, rtol=0, atol=1e-4)
    turning = navigators(6, is_real=False)
    assert temporal_basis(turning, energy=1.0).rank == 12
    assert temporal_basis(turning, energy=1.0, is_real=False).rank == 6


@pytest.mark.parametrize("is_real", [True, False])
def test_rank_stops_at_the_noise(is_real: bool) -> None:
    signals = 5 * navigators(6) + noise(4, 20, 300, seed=3)
    assert temporal_basis(signals, energy=1.0, noise_std=1.0, is_real=is_real).rank == 6
    with pytest.raises(InputError, match=r"expected a rank from 1 to 6, .* got 7"):
        temporal_basis(signals, rank=7, noise_std=1.0, is_real=is_real)
    with pytest.raises(InputError, match="whether the navigators were measured"):
        temporal_basis(noise(4, 20, 300), noise_std=1.0, is_real=is_real)


def test_a_rank_above_that_of_the_data_is_refused() -> None:
    with pytest.raises(InputError, match="expected a rank from 1 to 6"):
        temporal_basis(navigators(6), rank=7)
    with pytest.raises(InputError, match="leave out readouts without signal"):
        temporal_basis(torch.zeros(4, 10))
    with pytest.raises(InputError, match="expected finite"):
        temporal_basis(torch.full((4, 10), torch.nan))
    with pytest.raises(InputError, match="share of the energy"):
        temporal_basis(navigators(2), energy=0.0)


def test_a_joint_basis_spans_what_each_spans() -> None:
    first, second = noise(3, 80, dtype=torch.float32), noise(2, 80, seed=1, dtype=torch.float32)
    joint = joint_basis(first, second, energy=1.0)
    assert joint.rank == 5
    for rows in (first, second):
        torch.testing.assert_close(projected(rows, joint.rows), rows, rtol=0, atol=1e-4)
    assert joint_basis(first, first.clone(), energy=1.0).rank == 3
    with pytest.raises(InputError, match="bases of the same times"):
        joint_basis(first, second[:, :7])


def test_readouts_between_navigators_get_the_basis_between_them() -> None:
    known_at = torch.tensor([1.0, 2.0, 4.0])
    rows = torch.stack([3 * known_at, -known_at])
    wanted_at = torch.tensor([0.0, 1.0, 1.5, 3.0, 4.0, 9.0])
    expected = torch.tensor([1.0, 1.0, 1.5, 3.0, 4.0, 4.0])
    torch.testing.assert_close(at_times(rows, known_at, wanted_at), torch.stack([3 * expected, -expected]))
    torch.testing.assert_close(at_times(rows[:, :1], known_at[:1], wanted_at), rows[:, :1].expand(2, 6))
    with pytest.raises(InputError, match="a time for each of 3 columns"):
        at_times(rows, known_at[:2], wanted_at)
