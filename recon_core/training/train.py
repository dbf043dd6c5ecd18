"""A training recipe, from slices to model packages."""

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from recon_core.engine.manifest import Training
from recon_core.engine.package import ModelPackage, write_package
from recon_core.engine.store import ModelStore
from recon_core.nets.feature_maps import FeatureMaps
from recon_core.nets.registry import ARCHITECTURES
from recon_core.training.evaluation import Table, judged, table
from recon_core.training.examples import Examples
from recon_core.training.feature_examples import FeatureExamples
from recon_core.training.learning import Learning
from recon_core.training.loop import fit
from recon_core.training.packaging import known_anatomies, package_name, trained_manifest, training_data
from recon_core.training.recipe import MODEL, Stage, TrainingRecipe
from recon_core.training.run import Run, device_name, is_first_process, prepare
from recon_core.training.sampling import Part
from recon_core.training.slices import Slice
from recon_core.training.split import split_slices
from recon_core.training.stage_network import spirit_kernel_width, stage_network, trained_parameters

_LOGGER = logging.getLogger("reconstream")

WEIGHTS = "weights.safetensors"
N_WATCHED = 4
"""Held-out slices of each source that are looked at while a stage is trained."""


@dataclass(frozen=True)
class Trained:
    """A package that came out, and how good its network is."""

    package: ModelPackage
    judgement: Table


@dataclass(frozen=True)
class _Finished:
    weights: dict[str, torch.Tensor]
    minutes: float


def train(recipe: TrainingRecipe, slices: Sequence[Slice], run: Run) -> list[Trained]:
    """Run every stage, judge the networks that are shipped on held-out slices, and write their packages.

    With `run.resume`, stages that ended are not repeated, and the one that was interrupted goes on from its
    last epoch. Of several processes, the first alone returns packages.

    Raises InputError where the output exists or cannot be written, and where a run to resume had another
    recipe.
    """
    prepare(run)
    training, held_out = split_slices(slices, recipe.split)
    finished: dict[str, _Finished] = {}
    for stage in recipe.stages:
        file = run.folder / stage.name / WEIGHTS
        if file.is_file():
            finished[stage.name] = _read(file)
            continue
        _LOGGER.info("training stage '%s'", stage.name)
        network, minutes = _learn(recipe, stage, finished, training, held_out, run)
        weights = {name: t.detach().cpu().contiguous() for name, t in network.state_dict().items()}
        finished[stage.name] = _Finished(weights, minutes)
        if is_first_process():
            save_file(weights, file, {"minutes": str(minutes)})
    if not is_first_process():
        return []
    total = sum(stage.minutes for stage in finished.values())
    return [
        _ship(recipe, stage, finished[stage.name].weights, training, held_out, run, total)
        for stage in recipe.shipped_stages
    ]


def _learn(
    recipe: TrainingRecipe,
    stage: Stage,
    finished: dict[str, _Finished],
    training: Sequence[Slice],
    held_out: Sequence[Slice],
    run: Run,
) -> tuple[torch.nn.Module, float]:
    start = _start(stage, finished)
    network = _network(recipe, stage, start)
    by_name = {earlier.name: earlier for earlier in recipe.stages}
    teachers = {
        anatomy: _network(recipe, by_name[name], finished[name].weights).eval()
        for anatomy, name in stage.teachers.items()
    }
    anatomies = recipe.anatomies_of(stage)
    watched = judged(
        [found for found in held_out if found.anatomy in anatomies],
        _examples(recipe, stage, held_out, "test", anatomies),
        N_WATCHED,
    )
    n_slices = sum(found.anatomy in anatomies for found in training)
    minutes = fit(
        Learning(network, stage, trained_parameters(network, stage, anatomies), teachers),
        stage,
        _examples(recipe, stage, training, "train", anatomies),
        [batch for batches in watched.values() for batch in batches],
        run.folder / stage.name,
        n_steps=stage.steps_per_epoch or math.ceil(n_slices / stage.batch_size),
        run=run,
    )
    return network, minutes


def _ship(
    recipe: TrainingRecipe,
    stage: Stage,
    weights: dict[str, torch.Tensor],
    training: Sequence[Slice],
    held_out: Sequence[Slice],
    run: Run,
    minutes: float,
) -> Trained:
    anatomies = known_anatomies(recipe, stage)
    network = _network(recipe, stage, weights)
    of_stage = [found for found in held_out if found.anatomy in anatomies]
    batches = judged(of_stage, _examples(recipe, stage, held_out, "test", anatomies), recipe.n_judged)
    judgement = table(network, batches, _beside(recipe))
    history = Training(
        recipe=run.recipe_origin,
        command=run.command,
        seed=recipe.seed,
        minutes=round(minutes, 2),
        device=device_name(),
        data=training_data(recipe, stage),
    )
    examples = _examples(recipe, stage, training, "train", anatomies)
    several = len(recipe.shipped_stages) > 1
    folder = run.out / package_name(recipe, stage) if several else run.out
    manifest = trained_manifest(recipe, stage, examples, judgement, history)
    return Trained(write_package(folder, network, manifest), judgement)


def _start(stage: Stage, finished: dict[str, _Finished]) -> dict[str, torch.Tensor] | None:
    if stage.start.startswith(MODEL):
        return ModelStore.default().load(stage.start.removeprefix(MODEL)).network().state_dict()
    return finished[stage.start].weights if stage.start else None


def _network(
    recipe: TrainingRecipe, stage: Stage, weights: dict[str, torch.Tensor] | None
) -> torch.nn.Module:
    return stage_network(recipe.network.architecture, recipe.config_of(stage), stage, recipe.seed, weights)


def _beside(recipe: TrainingRecipe) -> tuple[str, ...]:
    """What the network is judged beside."""
    if ARCHITECTURES[recipe.network.architecture].wants_guide:
        return ("fallback", "without guide", "wrong guide")
    return ("fallback",)


def _examples(
    recipe: TrainingRecipe, stage: Stage, slices: Sequence[Slice], part: Part, anatomies: Sequence[str]
) -> Examples | FeatureExamples:
    architecture = ARCHITECTURES[recipe.network.architecture]
    if architecture.takes is FeatureMaps:
        return FeatureExamples(
            slices,
            anatomies,
            matrix=recipe.simulation.matrices[0],
            batch_size=stage.batch_size,
            part=part,
            seed=recipe.seed,
        )
    return Examples(
        slices,
        anatomies,
        recipe.simulation,
        recipe.sampling,
        spirit_kernel_width=spirit_kernel_width(recipe.network.architecture),
        batch_size=stage.batch_size,
        part=part,
        seed=recipe.seed,
        guidance=recipe.guidance if architecture.wants_guide else None,
        guided_by={source.name: source.guided_by for source in recipe.sources},
    )


def _read(file: Path) -> _Finished:
    with safe_open(file, "pt") as opened:
        weights = {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118
        return _Finished(weights, float(opened.metadata()["minutes"]))
