"""Reconstructions that invert sensitivity encoding: conjugate gradient, wavelet, total variation."""

import numpy as np
import torch

from recon_core.errors import InputError
from recon_core.non_cartesian_sense import NonCartesianSampling, NonCartesianSense
from recon_core.sense_operator import SenseOperator
from recon_core.solve.conjugate_gradient import conjugate_gradient
from recon_core.solve.fista import fista
from recon_core.solve.sigpy_apps import sigpy_app
from recon_core.solve.total_variation import total_variation
from recon_core.wavelet import Wavelet

NOISE_WEIGHT = 0.15
"""Wavelet regularisation over noise level, both in units of the image: within half a decibel of the best of
each of 24 undersampled real scans."""
LEAST_REGULARISATION, MOST_REGULARISATION = 3e-4, 2.5e-3
USUAL_REGULARISATION = 2e-3
"""Where no noise level is known."""

Sampling = torch.Tensor | NonCartesianSampling
SenseOp = SenseOperator | NonCartesianSense


def cg_sense(
    kspace: torch.Tensor,
    coil_maps: torch.Tensor,
    sampled: Sampling,
    *,
    n_iterations: int = 30,
    regularisation: float = 0.0,
    tolerance: float = 0.0,
    backend: str = "torch",
) -> torch.Tensor:
    """SENSE by conjugate gradients: argmin_x ½ ‖M (F S x − y)‖² + ½ λ ‖x‖², M² = W off the Cartesian grid.

    Pruessmann et al. 2001, doi:10.1002/mrm.1241.

    Args:
        kspace: y, (*batch, coil, kz, ky, kx); what it holds at positions not sampled is ignored. Off the grid
            (*batch, coil, readout, sample).
        coil_maps: S, ([set,] coil, z, y, x).
        sampled: M, boolean, broadcastable to (kz, ky, kx); or the trajectory and W of `NonCartesianSampling`.
        n_iterations: at most.
        regularisation: λ. Both terms grow with the square of the data, so that λ needs no scaling by them;
            with normalised maps the eigenvalues of the normal operator are between 0 and 1, on a trajectory
            about so where W is the area of its samples.
        tolerance: stop when the residual of the normal equations, over its first value, is below it.
        backend: "torch", or "sigpy" for `sigpy.mri.app.SenseRecon` (CPU, one map set).

    Returns:
        x, (*batch, [set,] z, y, x); zero where the data are zero.

    Raises:
        InputError: shapes or dtypes that do not fit, or an unknown backend.
    """
    sense_op = _sense_op(coil_maps, sampled)
    rhs = sense_op.H(_weighted(kspace, sense_op))
    n_batch_axes = rhs.ndim - coil_maps.ndim + 1
    if _uses_sigpy(backend):
        lamda = rhs.new_full(kspace.shape[:n_batch_axes], regularisation, dtype=rhs.real.dtype)
        options = {"max_iter": n_iterations, "tol": tolerance * float(rhs.norm())}
        return sigpy_app("SenseRecon", kspace, coil_maps, sampled, lamda=lamda, options=options)
    normal = sense_op.normal
    return conjugate_gradient(
        lambda image: normal(image).add_(image, alpha=regularisation) if regularisation else normal(image),
        rhs,
        n_iterations=n_iterations,
        tolerance=tolerance,
        n_batch_axes=n_batch_axes,
    )


def wavelet_sense(
    kspace: torch.Tensor,
    coil_maps: torch.Tensor,
    sampled: Sampling,
    *,
    n_iterations: int = 50,
    regularisation: float | None = None,
    noise_std: torch.Tensor | float | None = None,
    seed: int = 0,
    backend: str = "torch",
) -> torch.Tensor:
    """Compressed sensing with wavelets: argmin_x ½ ‖M (F S x − y)‖² + λ s ‖Ψ x‖₁ by FISTA.

    Lustig et al. 2007, doi:10.1002/mrm.21391. Ψ is the orthogonal Daubechies-4 transform, at a new random
    shift in every iteration, so that no grid of blocks is preferred (Figueiredo & Nowak 2003,
    doi:10.1109/TIP.2003.814255).

    Args:
        kspace, coil_maps, sampled: as for `cg_sense`.
        n_iterations: of FISTA.
        regularisation: λ, relative to s = max |Aᴴ y|, the brightest sample of the zero-filled image, so that
            one λ does for data of any scale. Each item of a batch has its own s. If not given, λ s is
            `NOISE_WEIGHT` times the noise level, λ being at least `LEAST_REGULARISATION` and at most
            `MOST_REGULARISATION`; without a noise level λ is `USUAL_REGULARISATION`.
        noise_std: of a sample of y, one or (*batch,); see `recon_core.noise_level`.
        seed: of the random shifts.
        backend: "torch", or "sigpy" for `sigpy.mri.app.L1WaveletRecon` (CPU, one map set; its wavelet is
            neither periodic nor shifted).

    Returns:
        x, (*batch, [set,] z, y, x); zero where the data are zero.

    Raises:
        InputError: shapes or dtypes that do not fit, or an unknown backend.
    """
    sense_op = _sense_op(coil_maps, sampled)
    rhs = sense_op.H(_weighted(kspace, sense_op))
    n_batch_axes = rhs.ndim - coil_maps.ndim + 1
    threshold = _wavelet_threshold(_brightest(rhs, n_batch_axes), regularisation, noise_std)
    step = 1 / (sense_op.max_eigenvalue_bound() or 1.0)
    if _uses_sigpy(backend):
        options = {"max_iter": n_iterations, "alpha": step}
        return sigpy_app("L1WaveletRecon", kspace, coil_maps, sampled, lamda=threshold, options=options)
    wavelet = Wavelet(rhs.shape[-3:], dtype=rhs.real.dtype, device=rhs.device)
    random_shifts = np.random.default_rng(seed).integers(0, rhs.shape[-3:], size=(n_iterations, 3)).tolist()
    shifted = (wavelet.shifted(shift) for shift in random_shifts)
    return fista(
        sense_op.normal,
        rhs,
        lambda image, step: next(shifted).soft_threshold(image, step * threshold),
        step=step,
        n_iterations=n_iterations,
    )


def tv_sense(
    kspace: torch.Tensor,
    coil_maps: torch.Tensor,
    sampled: Sampling,
    *,
    n_iterations: int = 100,
    regularisation: float = 0.002,
    backend: str = "torch",
) -> torch.Tensor:
    """Compressed sensing with total variation: argmin_x ½ ‖M (F S x − y)‖² + λ s ‖G x‖₁.

    G takes periodic finite differences along each axis; the norm adds up the magnitudes of all of them
    (anisotropic). Block et al. 2007, doi:10.1002/mrm.21236.

    Args:
        kspace, coil_maps, sampled: as for `cg_sense`.
        n_iterations: of the primal-dual method.
        regularisation: λ, relative to s = max |Aᴴ y| as for `wavelet_sense`.
        backend: "torch", or "sigpy" for `sigpy.mri.app.TotalVariationRecon` (CPU, one map set).

    Returns:
        x, (*batch, [set,] z, y, x); zero where the data are zero.

    Raises:
        InputError: shapes or dtypes that do not fit, or an unknown backend.
    """
    sense_op = _sense_op(coil_maps, sampled)
    rhs = sense_op.H(_weighted(kspace, sense_op))
    n_batch_axes = rhs.ndim - coil_maps.ndim + 1
    threshold = regularisation * _brightest(rhs, n_batch_axes)
    max_eigenvalue = sense_op.max_eigenvalue_bound() or 1.0
    if _uses_sigpy(backend):
        n_axes = sum(length > 1 for length in rhs.shape[-3:])
        options = {"max_iter": n_iterations, "tau": 1 / (max_eigenvalue + 4 * n_axes), "sigma": 1}
        return sigpy_app("TotalVariationRecon", kspace, coil_maps, sampled, lamda=threshold, options=options)
    return total_variation(
        sense_op.normal, rhs, threshold, max_eigenvalue=max_eigenvalue, n_iterations=n_iterations
    )


def _sense_op(coil_maps: torch.Tensor, sampled: Sampling) -> SenseOp:
    if isinstance(sampled, NonCartesianSampling):
        return NonCartesianSense(coil_maps, sampled)
    return SenseOperator(coil_maps, sampled)


def _weighted(kspace: torch.Tensor, sense_op: SenseOp) -> torch.Tensor:
    """What the operator is to explain: M y. A mask is within its adjoint already."""
    return sense_op.weighted(kspace) if isinstance(sense_op, NonCartesianSense) else kspace


def _wavelet_threshold(
    brightest: torch.Tensor, regularisation: float | None, noise_std: torch.Tensor | float | None
) -> torch.Tensor:
    """λ s, s being `brightest`, (*batch, 1, ...)."""
    if regularisation is not None:
        return regularisation * brightest
    if noise_std is None:
        return USUAL_REGULARISATION * brightest
    level = torch.as_tensor(noise_std, dtype=brightest.dtype, device=brightest.device)
    level = level.reshape(*level.shape, *(1,) * (brightest.ndim - level.ndim))
    return (NOISE_WEIGHT * level).clamp(LEAST_REGULARISATION * brightest, MOST_REGULARISATION * brightest)


def _uses_sigpy(backend: str) -> bool:
    if backend not in ("torch", "sigpy"):
        raise InputError(f"SENSE: expected backend 'torch' or 'sigpy', got '{backend}'; name one of them")
    return backend == "sigpy"


def _brightest(image: torch.Tensor, n_batch_axes: int) -> torch.Tensor:
    """max |x| of each item of the batch, with axes of length one to broadcast."""
    return image.abs().amax(dim=tuple(range(n_batch_axes, image.ndim)), keepdim=True)
