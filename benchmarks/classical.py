"""The classical methods that a network's images are compared with, each from the same samples and maps."""

from functools import lru_cache

import numpy as np
import torch

from benchmarks.raw_cases import Case
from gadgets.grappa import Grappa
from gadgets.sense import Sense
from gadgets.spirit import ACCELERATIONS, ITERATIONS, N_FIRST, Spirit
from recon_core.coils.combine import combined_sets
from recon_core.coils.spirit_kernel import spirit_kernel
from recon_core.fourier import ifft, resize
from recon_core.grappa import apply_grappa, grappa_weights
from recon_core.masks import true_acceleration
from recon_core.noise_level import estimated_noise_std
from recon_core.sense import cg_sense, wavelet_sense
from recon_core.spirit import cg_spirit, l1_spirit

N_WAVELET_ITERATIONS = 100
"""Of the tuned one; the recipes' 50 have not converged everywhere."""
WEIGHTS = {
    "wavelet SENSE": (5e-4, 1e-3, 2e-3, 4e-3, 8e-3),
    "L1-SPIRiT": (2e-3, 4e-3, 8e-3, 1.6e-2, 3.2e-2),
}
"""What is tuned, and among which regularisations."""


def tuned(method: str, case: Case, weight: float) -> torch.Tensor:
    """`(1, y, x)` image of one of the methods of `WEIGHTS`."""
    if method == "wavelet SENSE":
        return combined_sets(
            wavelet_sense(
                case.kspace,
                case.coil_maps,
                case.sampled,
                n_iterations=N_WAVELET_ITERATIONS,
                regularisation=weight,
            )
        )
    kernel, first = _cg_spirit(case)
    acceleration = true_acceleration(case.sampled)
    n_iterations = round(float(np.interp(acceleration, ACCELERATIONS, ITERATIONS)))
    filled = l1_spirit(first, case.sampled[None], kernel, n_iterations=n_iterations, regularisation=weight)
    return case.combined(ifft(filled[0][:, None]))


def fallback(case: Case) -> torch.Tensor:
    """Wavelet SENSE as the recipes have it."""
    noise_std = estimated_noise_std(case.kspace[:, 0], case.sampled)
    return combined_sets(wavelet_sense(case.kspace, case.coil_maps, case.sampled, noise_std=noise_std))


def sense(case: Case) -> torch.Tensor:
    """CG-SENSE as the recipes have it."""
    return combined_sets(
        cg_sense(
            case.kspace,
            case.coil_maps,
            case.sampled,
            n_iterations=Sense().n_iterations,
            tolerance=Sense().tolerance,
        )
    )


def grappa(case: Case, rate: int) -> torch.Tensor | None:
    """Of every `rate`-th line, from four lines or two around it; None where calibration is too small."""
    centre = _centre(case)
    fitting = [n for n in (4, 2) if (n - 1) * rate + 1 <= centre.shape[-2]]
    if not fitting:
        return None
    weights = grappa_weights(
        centre, (1, rate), kernel=(1, fitting[0], 5), regularisation=Grappa().regularisation
    )
    filled = apply_grappa(weights, case.kspace, case.sampled.any(-1)[None])
    return case.combined(ifft(filled))


@lru_cache(maxsize=1)
def _cg_spirit(case: Case) -> tuple[torch.Tensor, torch.Tensor]:
    """The kernel and the k-space that L1-SPIRiT begins with, whatever its weight."""
    centre = _centre(case)
    width = Spirit().kernel_width if min(centre.shape[-2:]) >= 2 * Spirit().kernel_width - 1 else 5
    kernel = spirit_kernel(centre[:, 0], width)[None]
    return kernel, cg_spirit(case.kspace[:, 0][None], case.sampled[None], kernel, n_iterations=N_FIRST)


def _centre(case: Case) -> torch.Tensor:
    return resize(case.calibration, (min(case.calibration.shape[-1], Spirit().calibration_width),))
