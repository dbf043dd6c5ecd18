"""Scores of methods on the same held-out slices, what they say of a paper's orderings, and pictures."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import msgspec
import torch

from benchmarks.cascade_figures import picture
from recon_core.nets.undersampled import Undersampled, reconstruct
from recon_core.training.evaluation import METRICS, Scores, judged, scores
from recon_core.training.examples import Batch, Examples
from recon_core.training.recipe import TrainingRecipe
from recon_core.training.slices import Slice
from recon_core.training.stage_network import spirit_kernel_width

Method = Callable[[Batch], torch.Tensor]
"""From a batch of one slice to its `(1, y, x)` image."""
Scored = dict[str, list[Scores]]
"""Method, then slice."""
ENLARGED = 2
"""Pixels of a picture for one of the image."""


def held_out_batches(
    recipe: TrainingRecipe, held_out: Sequence[Slice], rate: float, n_of_source: int
) -> dict[str, list[Batch]]:
    """By anatomy, slices undersampled `rate` times by patterns that training does not see."""
    examples = Examples(
        held_out,
        tuple(dict.fromkeys(found.anatomy for found in held_out)),
        recipe.simulation,
        msgspec.structs.replace(recipe.sampling, accelerations=(rate,)),
        spirit_kernel_width=spirit_kernel_width(recipe.network.architecture),
        batch_size=1,
        part="test",
        seed=recipe.seed,
    )
    by_anatomy: dict[str, list[Batch]] = {}
    for batches in judged(held_out, examples, n_of_source).values():
        for batch in batches:
            by_anatomy.setdefault(batch.anatomy, []).append(batch)
    return by_anatomy


def method_of(network: torch.nn.Module) -> Method:
    """The network as a method."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    network = network.to(device)

    @torch.inference_mode()
    def image(batch: Batch) -> torch.Tensor:
        return reconstruct(network, given(batch).to(device), batch.anatomy).cpu()

    return image


def zero_filled(batch: Batch) -> torch.Tensor:
    """No method at all."""
    return given(batch).zero_filled()


def given(batch: Batch) -> Undersampled:
    """What a method has of a batch; none here is of feature maps."""
    assert isinstance(batch.undersampled, Undersampled)
    return batch.undersampled


def scored(methods: Mapping[str, Method], batches: Sequence[Batch]) -> Scored:
    """Every method on every slice."""
    return {name: [scores(image(b), b.target) for b in batches] for name, image in methods.items()}


def means(found: Scored) -> dict[str, dict[str, list[float]]]:
    """Method, then metric: mean and standard deviation over slices."""
    return {
        name: {metric: _mean_and_deviation([one[metric] for one in of_slices]) for metric in METRICS}
        for name, of_slices in found.items()
    }


def claims(cases: Mapping[str, Scored], orderings: Mapping[str, tuple[str, str]]) -> dict[str, Any]:
    """What becomes of each ordering (better method, worse method): differences in PSNR, slice by slice."""
    found: dict[str, Any] = {}
    for claim, (better, worse) in orderings.items():
        gains = {
            case: [a["psnr"] - b["psnr"] for a, b in zip(of_case[better], of_case[worse], strict=True)]
            for case, of_case in cases.items()
            if better in of_case and worse in of_case
        }
        found[claim] = {
            "dB": _mean_and_deviation([gain for of_case in gains.values() for gain in of_case]),
            "cases": [sum(fmean(of_case) > 0 for of_case in gains.values()), len(gains)],
            "dB by case": {case: _mean_and_deviation(of_case) for case, of_case in gains.items()},
        }
    return found


def save_pictures(
    path: Path, shown: Sequence[tuple[Mapping[str, Method], Batch]], names: Sequence[str]
) -> None:
    """A row for each slice: the reference, what the methods made, and how that differs."""
    rows = [
        [_enlarged(image.abs()) for image in (batch.target, *(methods[name](batch) for name in names))]
        for methods, batch in shown
    ]
    picture(path, ("reference", *names), rows)


def _enlarged(image: torch.Tensor) -> torch.Tensor:
    return image.repeat_interleave(ENLARGED, -2).repeat_interleave(ENLARGED, -1)


def n_held(network: torch.nn.Module) -> int:
    """Values of a network, running statistics among them, as the papers count."""
    return sum(held.numel() for held in network.state_dict().values() if held.is_floating_point())


def _mean_and_deviation(values: Sequence[float]) -> list[float]:
    return [round(fmean(values), 4), round(stdev(values), 4) if len(values) > 1 else 0.0]
