"""End-to-end cases: one TOML file each, with what is compared with what, and how close they come."""

from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt
import pytest

Array = npt.NDArray[Any]
Reference = Literal["phantom", "full sampling", "rss", "matched", "sense", "wavelet"]

CalibrationMode = Literal["embedded", "separate", "unannounced"]

AS_PEERS: dict[str, dict[str, Any]] = {
    "cartesian_sense": {"CoilMaps.n_maps": 1},
    "cartesian_wavelet": {"CoilMaps.n_maps": 1, "WaveletSense.regularisation": 0.002},
}
"""Parameters by which a recipe does what the other program is told to do."""

FOLDER = Path(__file__).parent / "cases"


class Comparison(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename={"parameters": "with"}
):
    """A recipe, what its images are held against, and how close they must come."""

    recipe: str
    reference: Reference
    nrmse: float
    """As measured when the case was written."""
    below: float
    """The bound that the test holds: room for rounding and another BART, for nothing else."""
    parameters: dict[str, Any] = {}
    """Of the recipe; see `settings`."""
    calibration_mode: CalibrationMode = "embedded"
    """Undersampled: what the header says; where unannounced, the sampling alone tells of calibration."""
    zero_filled: float = float("nan")
    """Undersampled: what `nrmse` is without unfolding, as measured."""

    @property
    def settings(self) -> dict[str, Any]:
        """The recipe's parameters: where a program is the reference, those by which it does the same."""
        by_program = self.reference in ("sense", "wavelet")
        return (AS_PEERS.get(self.recipe, {}) if by_program else {}) | self.parameters

    @property
    def label(self) -> str:
        words = [self.recipe, *(f"{key}={value}" for key, value in self.parameters.items()), self.reference]
        words += [] if self.calibration_mode == "embedded" else [self.calibration_mode]
        return "-".join(words).replace(" ", "-")


class ScanCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A real scan as it is."""

    scan: str
    """File in the folder of raw data."""
    shape: tuple[int, int, int]
    """(slice, y, x) of its images."""
    comparison: tuple[Comparison, ...]


class UndersampledCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A fully sampled real scan of which only some lines are kept."""

    scan: str
    pattern: Literal["equispaced", "random"]
    acceleration: int
    calibration_lines: int
    comparison: tuple[Comparison, ...]


class PhantomCase(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file of `ismrmrd_generate_cartesian_shepp_logan`."""

    options: str
    """Of the generator, less the output file."""
    repetitions: int
    """Images that it leads to."""
    comparison: tuple[Comparison, ...]


Case = TypeVar("Case", ScanCase, UndersampledCase, PhantomCase)


def cases(kind: str, case_type: type[Case]) -> dict[str, Case]:
    """The cases in a folder, by their names."""
    return {
        path.stem: msgspec.toml.decode(path.read_bytes(), type=case_type)
        for path in sorted((FOLDER / kind).glob("*.toml"))
    }


def comparisons(cases: dict[str, Case]) -> list[Any]:
    """Every comparison of every case, for `pytest.mark.parametrize`."""
    return [
        pytest.param(name, comparison, id=f"{name}-{comparison.label}")
        for name, case in cases.items()
        for comparison in case.comparison
    ]


def nrmse_scaled(image: Array, reference: Array, inside: Array | None = None) -> float:
    """‖a·image − reference‖ / ‖reference‖ with the best a, since programs choose intensities as they like."""
    if inside is not None:
        image, reference = image[inside], reference[inside]
    scale = (image * reference).sum() / (image * image).sum()
    return float(np.linalg.norm(scale * image - reference) / np.linalg.norm(reference))
