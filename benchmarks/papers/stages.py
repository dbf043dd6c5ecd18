"""Stages of a training recipe, each trained once: its weights are kept under a hash of all they come from."""

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, process_time

import msgspec
import torch
from safetensors.torch import load_file, save_file

from benchmarks.papers.options import Options, scaled
from recon_core.training.examples import Examples
from recon_core.training.learning import Learning
from recon_core.training.loop import CHECKPOINT, fit
from recon_core.training.recipe import Stage, TrainingRecipe
from recon_core.training.run import Run
from recon_core.training.slices import Slice
from recon_core.training.stage_network import spirit_kernel_width, stage_network, trained_parameters

WEIGHTS = "weights.safetensors"
N_TIMED = 3
"""Steps that an estimate is made from."""
Weights = dict[str, torch.Tensor]


class Stages:
    """The stages of one recipe, scaled down, on the slices that there are to learn from."""

    def __init__(self, recipe: TrainingRecipe, training: Sequence[Slice], options: Options) -> None:
        self.recipe, self.options, self._training = recipe, options, training
        self.stages = {s.name: scaled(s, len(recipe.anatomies_of(s)), options) for s in recipe.stages}
        self._digests = {
            anatomy: _digest(found.data.numpy().tobytes() for found in training if found.anatomy == anatomy)
            for anatomy in {found.anatomy for found in training}
        }

    def network(self, name: str) -> torch.nn.Module:
        """With the weights that a stage ends with, for evaluation; trained now if it was not before."""
        return self._network(self.stages[name], self._weights(name)).eval().requires_grad_(False)

    def train(self) -> None:
        """Every stage that is not on disk."""
        for number, name in enumerate(self.stages, start=1):
            print(f"{self.recipe.network.architecture}: {name}, {number} of {len(self.stages)}", flush=True)
            self._weights(name)

    def print_estimate(self) -> float:
        """Minutes for what is not on disk: of one core, or with a GPU of the clock."""
        seconds: dict[bytes, float] = {}
        total = 0.0
        for name, stage in self.stages.items():
            if (self._folder(name) / WEIGHTS).is_file():
                continue
            n_steps = stage.epochs * (stage.steps_per_epoch or 1)
            alike = msgspec.json.encode((stage.config, stage.trains, stage.depth, sorted(stage.teachers)))
            if alike not in seconds:
                seconds[alike] = self._seconds_per_step(stage)
            minutes = n_steps * seconds[alike] / 60
            total += minutes
            print(f"{name}: {n_steps} steps of {seconds[alike]:.2f} s, {minutes:.1f} min", flush=True)
        clock = "" if torch.cuda.is_available() else f" of processor time; {torch.get_num_threads()} threads"
        print(f"{self.recipe.network.architecture}: about {total:.0f} min{clock}", flush=True)
        return total

    def _weights(self, name: str) -> Weights:
        file = self._folder(name) / WEIGHTS
        if not file.is_file():
            stage = self.stages[name]
            teachers = {anatomy: self.network(teacher) for anatomy, teacher in stage.teachers.items()}
            network = self._network(stage, self._weights(stage.start) if stage.start else None)
            self._fit(stage, network, teachers, file.parent)
            part = file.with_suffix(".part")
            save_file({key: t.detach().cpu().contiguous() for key, t in network.state_dict().items()}, part)
            part.rename(file)
            (file.parent / f"{CHECKPOINT}.ckpt").unlink()
        return load_file(file)

    def _fit(
        self, stage: Stage, network: torch.nn.Module, teachers: dict[str, torch.nn.Module], folder: Path
    ) -> None:
        recipe, anatomies = self.recipe, self.recipe.anatomies_of(stage)
        examples = Examples(
            self._training,
            anatomies,
            recipe.simulation,
            recipe.sampling,
            spirit_kernel_width=spirit_kernel_width(recipe.network.architecture),
            batch_size=stage.batch_size,
            part="train",
            seed=recipe.seed,
        )
        fit(
            Learning(network, stage, trained_parameters(network, stage, anatomies), teachers),
            stage,
            examples,
            [],
            folder,
            n_steps=stage.steps_per_epoch or 1,
            run=Run(
                out=folder,
                recipe_text="",
                recipe_origin=recipe.name,
                command="",
                precision=self.options.precision,
                n_devices=1,
                n_workers=self.options.workers,
            ),
        )

    def _seconds_per_step(self, stage: Stage) -> float:
        clock = perf_counter if torch.cuda.is_available() else process_time
        teachers = {a: self._network(self.stages[name], None) for a, name in stage.teachers.items()}

        def seconds(n_steps: int) -> float:
            short = msgspec.structs.replace(stage, epochs=1, steps_per_epoch=n_steps)
            with TemporaryDirectory() as folder:
                begin = clock()
                self._fit(short, self._network(stage, None), teachers, Path(folder))
                return clock() - begin

        seconds(1)  # whatever is made once for all
        return max(0.0, seconds(1 + N_TIMED) - seconds(1)) / N_TIMED

    def _network(self, stage: Stage, weights: Weights | None) -> torch.nn.Module:
        recipe = self.recipe
        return stage_network(
            recipe.network.architecture, recipe.config_of(stage), stage, recipe.seed, weights
        )

    def _folder(self, name: str) -> Path:
        return self.options.out / "stages" / f"{self.recipe.network.architecture}_{name}_{self._hash(name)}"

    def _hash(self, name: str) -> str:
        """Of data, recipe, budget and the stages before: where any is another, weights are too."""
        stage, recipe = self.stages[name], self.recipe
        comes_from = (
            msgspec.structs.replace(stage, start="", teachers={}),
            [self._hash(earlier) for earlier in (stage.start, *stage.teachers.values()) if earlier],
            [self._digests[anatomy] for anatomy in recipe.anatomies_of(stage)],
            (recipe.network.architecture, recipe.config_of(stage), recipe.seed, self.options.precision),
            (recipe.simulation, recipe.sampling),
        )
        return _digest([msgspec.json.encode(comes_from)])


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=6)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()
