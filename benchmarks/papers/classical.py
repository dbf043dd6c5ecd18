"""L1-SPIRiT and wavelet compressed sensing of the networks' own examples, tuned on some to learn from."""

from collections.abc import Callable, Sequence
from functools import partial
from statistics import fmean

import torch

from benchmarks.papers.judging import Method, given
from gadgets.spirit import N_FIRST
from recon_core.coils.combine import combined_sets
from recon_core.errors import CalibrationError
from recon_core.fourier import ifft
from recon_core.nets.undersampled import Undersampled
from recon_core.sense import wavelet_sense
from recon_core.spirit import cg_spirit, l1_spirit
from recon_core.training.evaluation import scores
from recon_core.training.examples import Batch
from recon_core.training.retrospective import combined

WEIGHTS = (1e-3, 2e-3, 4e-3, 8e-3, 1.6e-2)
"""Regularisations that both are tuned among."""
N_WAVELET_ITERATIONS = 80
Weighted = Callable[..., torch.Tensor]


def tuned_methods(
    to_tune_on: Sequence[Batch], n_iterations: int
) -> tuple[dict[str, float], dict[str, Method]]:
    """Both methods with the weight of the largest mean PSNR, and that weight; `n_iterations` of L1-SPIRiT."""
    images: dict[str, Weighted] = {
        "L1-SPIRiT": partial(l1_spirit_image, n_iterations=n_iterations),
        "wavelets": wavelet_image,
    }
    weights = {name: _best_weight(image, to_tune_on) for name, image in images.items()}
    return weights, {name: partial(image, weight=weights[name]) for name, image in images.items()}


def l1_spirit_image(batch: Batch, *, n_iterations: int, weight: float) -> torch.Tensor:
    """As the gadget has it, begun with CG-SPIRiT, and no more than that where projections diverge.

    Coils are combined by the maps of the target.
    """
    slices = given(batch)
    assert slices.spirit_kernel is not None
    first = cg_spirit(slices.kspace, slices.sampled, slices.spirit_kernel, n_iterations=N_FIRST)
    try:
        filled = l1_spirit(
            first, slices.sampled, slices.spirit_kernel, n_iterations=n_iterations, regularisation=weight
        )
    except CalibrationError:
        filled = first
    return combined(ifft(filled[0], (-2, -1)), _maps(slices))[None]


def wavelet_image(batch: Batch, *, weight: float) -> torch.Tensor:
    """Compressed sensing of all coils, by the maps of the target."""
    slices = given(batch)
    images = wavelet_sense(
        slices.kspace[0][:, None],
        _maps(slices)[:, :, None],
        slices.sampled,
        n_iterations=N_WAVELET_ITERATIONS,
        regularisation=weight,
    )
    return combined_sets(images)


def _best_weight(image: Weighted, batches: Sequence[Batch]) -> float:
    return max(
        WEIGHTS,
        key=lambda weight: fmean(scores(image(b, weight=weight), b.target)["psnr"] for b in batches),
    )


def _maps(slices: Undersampled) -> torch.Tensor:
    """`(set, coil, y, x)`: one set, or two where there is a second."""
    assert slices.coil_maps is not None
    if slices.second_maps is None or not slices.second_maps.any():
        return slices.coil_maps
    return torch.cat([slices.coil_maps, slices.second_maps])
