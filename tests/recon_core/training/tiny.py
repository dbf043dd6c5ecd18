"""A recipe and slices small enough to train on in a second."""

from pathlib import Path

from recon_core.phantom import head_phantom
from recon_core.training.recipe import TrainingRecipe, recipe_from_toml
from recon_core.training.run import Run
from recon_core.training.slices import Slice

HEAD = """
name = "tiny"
about = "A network too small for use"
seed = 3
n_judged = 1

[network]
architecture = "d5c5"
config = { n_cascades = 2, n_layers = 4, n_features = 4 }

[simulation]
matrices = [[32, 24]]
n_coils = [1]

[sampling]
patterns = ["gaussian_lines"]
accelerations = [3]
calibration = [4]

[[source]]
name = "heads"
files = ["head*.npz"]
licence = "CC0"
terms = "permissive"
anatomy = "brain"
contrast = "T1"

[[source]]
name = "knees"
files = ["knee*.npz"]
licence = "own"
terms = "research"
anatomy = "knee"
"""

STAGE = """
[[stage]]
name = "only"
epochs = 3
batch_size = 2
steps_per_epoch = 4
learning_rate = 0.01
"""


def tiny_recipe(stages: str = STAGE, head: str = HEAD) -> TrainingRecipe:
    return recipe_from_toml(head + stages, "tiny")


def tiny_slices() -> list[Slice]:
    """Twelve slices of one head and twelve of one "knee", which is the other half of it."""
    return [
        Slice(
            data=head_phantom((40, 40), z_mm=z_mm),
            kind="magnitude",
            subject="phantom",
            position=number,
            anatomy=anatomy,
            contrast="T1",
            source=source,
        )
        for source, anatomy, sign in (("heads", "brain", 1), ("knees", "knee", -1))
        for number, z_mm in enumerate(sign * 4.0 * i for i in range(12))
    ]


def tiny_run(folder: Path, *, resume: bool = False, n_workers: int = 0) -> Run:
    return Run(
        out=folder / "package",
        recipe_text=HEAD + STAGE,
        recipe_origin="tiny",
        command="reconstream train tiny",
        resume=resume,
        accelerator="cpu",
        n_devices=1,
        n_workers=n_workers,
    )
