"""What the three experiments are told on the command line: where, and how much smaller than the papers."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from recon_core.training.recipe import Stage, TrainingRecipe, recipe_from_toml, text_of_recipe
from recon_core.training.run import Precision

N_SAVED = 4
"""Checkpoints of a stage."""
WARM_UP = 0.05
"""Share of a stage's steps over which the learning rate rises."""


@dataclass(frozen=True, kw_only=True)
class Options:
    """Where an experiment runs, and how much of it there is."""

    data: Path
    out: Path
    scale: float
    """Batches of each anatomy for an epoch of the recipe."""
    matrix: int
    batch: int
    precision: Precision
    workers: int
    judged: int
    """Held-out slices of each source."""
    estimate: bool
    """Say how long it would take, and stop."""

    @property
    def in_words(self) -> dict[str, Any]:
        """For the results."""
        return {
            "matrix": [self.matrix, self.matrix],
            "slices in a batch": self.batch,
            "batches of an anatomy for an epoch of the recipe": self.scale,
            "precision of training": self.precision,
        }


def told(description: str | None, *, scale: float, matrix: int = 96) -> Options:
    """The options on the command line, with the experiment's own defaults."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path, help="folder of the images")
    parser.add_argument("out", type=Path, help="trained stages, for a second run to go on from; pictures")
    parser.add_argument("--scale", type=float, default=scale, help="batches for an epoch of the recipe")
    parser.add_argument("--matrix", type=int, default=matrix)
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="bf16-mixed")
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--judged", type=int, default=12, help="held-out slices of each source")
    parser.add_argument("--estimate", action="store_true", help="say how long it would take, and stop")
    return Options(**vars(parser.parse_args()))


def shipped(name: str) -> TrainingRecipe:
    """A training recipe that comes with the package."""
    return recipe_from_toml(text_of_recipe(name), name)


def scaled(stage: Stage, n_anatomies: int, options: Options) -> Stage:
    """The stage in fewer and smaller batches, its learning rate falling to zero over them."""
    n_steps = round(options.scale * stage.epochs * n_anatomies / N_SAVED)
    return msgspec.structs.replace(
        stage,
        epochs=N_SAVED,
        steps_per_epoch=max(1, n_steps),
        batch_size=options.batch,
        schedule="cosine",
        warm_up_steps=round(WARM_UP * n_steps * N_SAVED),
    )
