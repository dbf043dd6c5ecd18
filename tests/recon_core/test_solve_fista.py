"""FISTA against closed forms and SigPy."""

import sigpy as sp
import torch

from recon_core.solve.fista import fista


def soft_threshold(x: torch.Tensor, threshold: float) -> torch.Tensor:
    return torch.polar((x.abs() - threshold).clamp_min(0), x.angle())


def problem() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    A = torch.randn(12, 20, dtype=torch.complex128, generator=generator)
    return A, torch.randn(12, dtype=torch.complex128, generator=generator)


def test_fista_reaches_the_closed_form_for_a_diagonal_problem() -> None:
    eigenvalues = torch.tensor([1.0, 0.5, 0.2], dtype=torch.float64)
    rhs = torch.tensor([2 + 1j, -0.3, 0.4j], dtype=torch.complex128)
    x = fista(
        lambda x: eigenvalues * x,
        rhs,
        lambda x, step: soft_threshold(x, 0.25 * step),
        step=1.0,
        n_iterations=200,
    )
    torch.testing.assert_close(x, soft_threshold(rhs, 0.25) / eigenvalues)


def test_fista_makes_the_iterations_of_sigpy() -> None:
    A, y = problem()
    step = 1 / float(torch.linalg.matrix_norm(A, 2)) ** 2
    x = fista(
        lambda x: A.mH @ (A @ x),
        A.mH @ y,
        lambda x, step: soft_threshold(x, 2 * step),
        step=step,
        n_iterations=17,
    )
    app = sp.app.LinearLeastSquares(
        sp.linop.MatMul((20, 1), A.numpy()),
        y[:, None].numpy(),
        proxg=sp.prox.L1Reg((20, 1), 2.0),
        alpha=step,
        max_iter=17,
        show_pbar=False,
    )
    torch.testing.assert_close(x, torch.from_numpy(app.run())[:, 0])
