"""How good images are, of slices that training has not seen, beside those of the classical methods."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import torch

from recon_core.coils.combine import combined_sets
from recon_core.engine.slices import at_intensity
from recon_core.metrics import nmse, psnr, ssim
from recon_core.nets.feature_maps import FeatureMaps
from recon_core.nets.wavelet_images import wavelet_images
from recon_core.training.examples import Batch, Examples
from recon_core.training.feature_examples import FeatureExamples
from recon_core.training.slices import Slice

METRICS = ("psnr", "ssim", "nmse")
Scores = dict[str, float]
Table = dict[str, dict[str, dict[str, float]]]
"""Source, then metric, then method: as in a model's manifest."""


def scores(image: torch.Tensor, target: torch.Tensor) -> Scores:
    """PSNR in dB, SSIM and NMSE of magnitudes, `(1, y, x)`; the peak is that of the slice."""
    image, target = image.detach().abs().cpu(), target.abs().cpu()
    return {"psnr": psnr(image, target), "ssim": ssim(image, target), "nmse": nmse(image, target)}


def judged(
    held_out: Sequence[Slice], examples: Examples | FeatureExamples, n_of_source: int
) -> dict[str, list[Batch]]:
    """By source, at most so many held-out slices, spread evenly; always the same, with the same masks."""
    by_source: dict[str, list[Batch]] = {}
    for source in dict.fromkeys(found.source for found in held_out):
        of_source = [found for found in held_out if found.source == source]
        n = min(n_of_source, len(of_source))
        places = [i * len(of_source) // n for i in range(n)]
        by_source[source] = [examples.example(of_source[i], (source, i)) for i in places]
    return by_source


def table(
    network: torch.nn.Module, held_out: Mapping[str, Sequence[Batch]], others: Iterable[str] = ("fallback",)
) -> Table:
    """Mean scores of the network ("model") and the others: "fallback", "zero-filled", and of a network that
    takes guides "without guide" and "wrong guide", which is the right one upside down."""
    found: Table = {}
    was_training = network.training
    network.eval()
    device = next(network.parameters()).device
    for source, batches in held_out.items():
        sums: dict[str, dict[str, float]] = {metric: {} for metric in METRICS}
        for batch in batches:
            for method in ("model", *others):
                for metric, value in scores(_image(method, network, batch, device), batch.target).items():
                    sums[metric][method] = sums[metric].get(method, 0.0) + value / len(batches)
        found[source] = sums
    network.train(was_training)
    return found


@torch.no_grad()
def _image(method: str, network: torch.nn.Module, batch: Batch, device: torch.device) -> torch.Tensor:
    given = batch.undersampled
    if isinstance(given, FeatureMaps):
        if method != "model":
            return given.maps
    elif method == "fallback":
        return combined_sets(wavelet_images(given), set_axis=1)
    elif method == "zero-filled":
        return given.zero_filled()
    elif method == "without guide":
        given = replace(given, guide=None)
    elif method == "wrong guide" and given.guide is not None:
        given = replace(given, guide=given.guide.flip(-2, -1))
    normalised, scale = given.to(device).normalised()
    return at_intensity(network(normalised, batch.anatomy), scale)


def mean_score(judgement: Table, metric: str, method: str) -> float:
    """The mean over sources."""
    found = [scores[metric][method] for scores in judgement.values()]
    return sum(found) / len(found)
