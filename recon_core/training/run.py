"""Where and how a training runs."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch

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


def is_first_process() -> bool:
    """Of those on several devices, which Lightning starts, telling each its rank in this variable."""
    return int(os.environ.get("LOCAL_RANK", 0)) == 0


def device_name() -> str:
    """Of the device that training takes unless told."""
    return torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU"
