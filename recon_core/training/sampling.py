"""Which sampling patterns are trained on, and which others are tested on."""

from functools import lru_cache
from typing import Literal

import msgspec
import torch

from recon_core import masks
from recon_core.errors import RecipeError
from recon_core.nets.architecture import Count
from recon_core.training.draws import Draws

Pattern = Literal["random_lines", "gaussian_lines", "equispaced_lines", "poisson_disc", "radial", "spiral"]
Part = Literal["train", "test"]
Shape = tuple[int, int]

FEWEST_CALIBRATION = 14
"""Lines or points across; coil maps need eleven, SPIRiT kernels thirteen."""


class Sampling(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool of sampling patterns for every matrix."""

    patterns: tuple[Pattern, ...] = ("random_lines", "gaussian_lines", "equispaced_lines", "poisson_disc")
    """Functions of `recon_core.masks`."""
    accelerations: tuple[float, ...] = (2, 3, 4, 5, 6, 8, 10)
    """True ones, calibration counted, but for equispaced lines, whose spacing it is. Less of a small matrix
    where there would be no lines left to calibrate from."""
    calibration: tuple[Count, ...] = (16, 20, 24, 32)
    """Central lines (points across, of a Poisson disc); fewer where the acceleration leaves no room."""
    n_patterns: Count = 100
    """Training patterns of each matrix, and as many others for testing."""

    def __post_init__(self) -> None:
        if not (self.patterns and self.accelerations and self.calibration):
            raise ValueError("sampling: expected patterns, accelerations and calibration sizes, got none")


@lru_cache(maxsize=8192)
def pattern(sampling: Sampling, shape: Shape, part: Part, number: int) -> torch.Tensor:
    """`(ky, kx)` boolean: pattern `number` of the pool. Training and testing share no seed.

    Raises RecipeError where no pattern of this shape can be made.
    """
    draws = Draws("pattern", part, shape, number)
    kind, acceleration = draws.choice(sampling.patterns), draws.choice(sampling.accelerations)
    n_calibration = draws.choice(sampling.calibration)
    seed = draws.integer(0, 2**31 - 1)
    if acceleration >= min(shape):
        raise RecipeError(
            f"sampling: expected accelerations far below the matrix {shape}, got {acceleration:g}"
        )
    if kind.endswith("_lines"):
        fewest = min(FEWEST_CALIBRATION, n_calibration)
        acceleration = min(acceleration, shape[0] // fewest)
        n_calibration = min(n_calibration, max(fewest, int(shape[0] / acceleration / 2)))
    if kind == "random_lines":
        return masks.random_lines(shape, acceleration, n_calibration=n_calibration, seed=seed)
    if kind == "gaussian_lines":
        return masks.gaussian_lines(shape, acceleration, n_calibration=n_calibration, seed=seed)
    if kind == "equispaced_lines":
        return masks.equispaced_lines(shape, round(acceleration), n_calibration=n_calibration, seed=seed)
    room = int((shape[0] * shape[1] / acceleration / 2) ** 0.5)
    calibration = (min(n_calibration, room, shape[0]), min(n_calibration, room, shape[1]))
    drawn = {"poisson_disc": masks.poisson_disc, "radial": masks.radial, "spiral": masks.spiral}[kind]
    return drawn(shape, acceleration, calibration=calibration, seed=seed)


def drawn_pattern(sampling: Sampling, shape: Shape, part: Part, draws: Draws) -> torch.Tensor:
    """`(ky, kx)`: one of the pool."""
    return pattern(sampling, shape, part, draws.integer(0, sampling.n_patterns - 1))
