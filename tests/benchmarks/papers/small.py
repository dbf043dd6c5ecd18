"""Images, networks and options small enough to run an experiment in seconds."""

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
import numpy as np
import pytest

from benchmarks.papers import options
from benchmarks.papers.options import Options
from benchmarks.papers.stages import Stages
from recon_core.phantom import head_phantom
from recon_core.training.recipe import TrainingRecipe


def small_images(folder: Path, n_slices: int = 20) -> Path:
    """Files of the names that the experiments read; all show the same phantom."""
    folder.mkdir()
    volume = np.stack([head_phantom((40, 40), z_mm=4.0 * i - 40).numpy() for i in range(n_slices)])
    several = {name: volume[i::4] for i, name in enumerate(("image_1", "image_2", "image_3"))}
    patients = {f"image_patient00{i}_slice": volume[i] for i in range(3)}
    for name, arrays in {
        "brain_multicontrast_t1_pd_mt": {"T1w": volume},
        "brain_multicontrast_t1_t1c_t2_flair": {"T1": volume, "T2": volume},
        "brain_3t_a_t1_t2_flair": {"T1": volume[::4], "T2": volume[::4]},
        "brain_3t_b_t1_t2_flair": {"T1": volume[::4], "T2": volume[::4]},
        "head_t1_isotropic_0p67mm": {"volume": volume},
        "abdomen_t2_labelled": several,
        "cardiac_short_axis_labelled": patients,
        "prostate_t2": {"images": volume},
        "natural_images": {"images": volume},
    }.items():
        np.savez(folder / f"{name}.npz", **arrays)
    return folder


def small_options(data: Path, out: Path, matrix: int, **changes: Any) -> Options:
    told = {
        "data": data,
        "out": out,
        "scale": 0.01,
        "matrix": matrix,
        "batch": 1,
        "precision": "32-true",
        "workers": 0,
        "judged": 1,
        "estimate": False,
    }
    return Options(**(told | changes))


def run_small(
    experiment: ModuleType,
    data: Path,
    out: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    matrix: int = 32,
    config: dict[str, Any],
    **changes: Any,
) -> dict[str, Any]:
    """What the experiment would write as its results, of networks with a config that makes them small."""
    found: dict[str, Any] = {}
    shipped: Callable[[str], TrainingRecipe] = options.shipped

    def small(name: str) -> TrainingRecipe:
        recipe = shipped(name)
        network = msgspec.structs.replace(recipe.network, config=recipe.network.config | config)
        return msgspec.structs.replace(recipe, network=network)

    monkeypatch.setattr(experiment, "shipped", small)
    monkeypatch.setattr(options, "N_SAVED", 1)
    monkeypatch.setattr(Stages, "print_estimate", lambda _: 0.0)
    monkeypatch.setattr(experiment, "told", lambda *_, **__: small_options(data, out, matrix, **changes))
    monkeypatch.setattr(experiment, "write_results", lambda _, figures: found.update(figures))
    experiment.main()
    return found
