"""Where and how a training runs."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

from recon_core.errors import InputError

RECIPE = "recipe.toml"

Precision = Literal["32-true", "bf16-mixed", "16-mixed"]


@dataclass(frozen=True, kw_only=True)
class Run:
    """Where and how a training runs. Weights depend on no more of it than precision and devices."""

    out: Path
    """The package, or the folder of packages where a recipe ships several."""
    recipe_text: str
    recipe_origin: str
    """For the package: the recipe's name if it is a shipped one, else its text."""
    command: str
    resume: bool = False
    precision: Precision = "32-true"
    accelerator: str = "auto"
    n_devices: int | Literal["auto"] = "auto"
    n_workers: int = 0

    @property
    def folder(self) -> Path:
        """Of checkpoints and TensorBoard's records, beside the package."""
        return self.out.with_name(f"{self.out.name}.training")


def require_new(run: Run) -> None:
    """Raises InputError where the results of a run or another run are there, or nothing can be written."""
    if run.out.exists():
        raise InputError(
            f"{run.out}: expected a new path for the model package, got one that exists; move it"
        )
    above = next(path for path in run.out.absolute().parents if path.exists())
    if not (above.is_dir() and os.access(above, os.W_OK)):
        raise InputError(
            f"{run.out}: expected a path that can be written, got one in {above}; choose another folder"
        )
    if not is_first_process():
        return
    kept = run.folder / RECIPE
    if run.folder.exists() and not run.resume:
        raise InputError(
            f"{run.folder}: expected no earlier training there, got one; go on with it (--resume) or move it"
        )
    if kept.is_file() and kept.read_text() != run.recipe_text:
        raise InputError(f"{kept}: expected the recipe that is to be resumed, got another one; start anew")


def prepare(run: Run) -> None:
    """Make the folder of a run that begins. Raises as `require_new`."""
    require_new(run)
    if is_first_process():
        run.folder.mkdir(parents=True, exist_ok=True)
        (run.folder / RECIPE).write_text(run.recipe_text)


def is_first_process() -> bool:
    """Of those on several devices, which Lightning starts, telling each its rank in this variable."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


def device_name() -> str:
    """Of the device that training takes unless told."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
