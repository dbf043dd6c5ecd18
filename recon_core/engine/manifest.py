"""What a model package says of itself."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Literal

import msgspec

from recon_core.nets.undersampled import INTENSITY_SCALING

FFT = "centred-orthonormal"
"""`recon_core.fourier`, the one convention there is here."""

Precision = Literal["float32", "bfloat16", "float16"]
Terms = Literal["permissive", "research"]
Interval = tuple[float, float]


class _Record(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    pass


class Ranges(_Record, frozen=True, kw_only=True):
    """What the network was trained on; the gate lets nothing else pass. Intervals include their ends."""

    anatomies: tuple[str, ...]
    """`any` stands for all; of several, without a switch in the network, others pass too."""
    contrasts: tuple[str, ...]
    """`any` stands for all."""
    masks: tuple[str, ...]
    """Functions of `recon_core.masks`; names that end in `_lines` sample whole readouts, others points."""
    guides: tuple[str, ...] = ()
    """Contrasts of guides; none for a network that takes none."""
    acceleration: Interval | None = None
    """Grid points over samples, calibration included; feature maps do not tell."""
    matrix: tuple[int, int]
    """Smallest and largest side, ky or kx."""
    n_coils: tuple[int, int] | None = None
    """Feature maps do not tell."""
    noise_level: Interval | None = None
    """Standard deviation of the complex noise of a k-space sample, of normalised slices; feature maps do not
    tell."""
    intensity: Interval
    """Largest magnitude of the normalised zero-filled image, or of normalised feature maps."""


class TrainingData(_Record, frozen=True, kw_only=True):
    """One data set that the weights come from."""

    name: str
    terms: Terms
    licence: str


class Training(_Record, frozen=True, kw_only=True):
    """How to train the same network again."""

    recipe: str
    """Name or text of the training recipe."""
    command: str
    seed: int
    minutes: float
    device: str
    data: tuple[TrainingData, ...]


class Manifest(_Record, frozen=True, kw_only=True):
    """`model.toml`: everything about a network but its weights."""

    name: str
    version: str
    about: str
    architecture: str
    """A name of `recon_core.nets.registry`."""
    config: dict[str, Any]
    """The architecture's config record."""
    fft: str = FFT
    intensity_scaling: str = INTENSITY_SCALING
    precision: tuple[Precision, ...]
    """What the convolutions may compute in; float32 always."""
    licence: str
    terms: Terms
    """`research` as soon as any of the training data is."""
    sha256: str = ""
    """Of `model.safetensors`; `write_package` fills it in."""
    ranges: Ranges
    metrics: dict[str, dict[str, dict[str, float]]]
    """Held-out data, then metric, then `model` and `fallback`."""
    training: Training

    @property
    def switch(self) -> tuple[str, ...]:
        """The anatomies that the network has parameters of their own for."""
        return tuple(self.config.get("anatomies", ()))


def problems(manifest: Manifest) -> Iterator[str]:
    """What a manifest of the right types may still say wrongly."""
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", manifest.name):
        yield f"name: expected small letters, digits, '-' and '_', got '{manifest.name}'"
    if not re.fullmatch(r"[0-9A-Za-z.+-]+", manifest.version):
        yield f"version: expected letters, digits, '.', '+' and '-', got '{manifest.version}'"
    if manifest.fft != FFT:
        yield f"fft: expected '{FFT}', got '{manifest.fft}'"
    if manifest.intensity_scaling != INTENSITY_SCALING:
        yield f"intensity_scaling: expected '{INTENSITY_SCALING}', got '{manifest.intensity_scaling}'"
    if "float32" not in manifest.precision:
        yield f"precision: expected float32 among them, got {', '.join(manifest.precision) or 'none'}"
    if not manifest.training.data:
        yield "training.data: expected at least one data set, got none"
    if manifest.terms == "permissive" and any(d.terms == "research" for d in manifest.training.data):
        yield "terms: expected 'research', as of some training data, got 'permissive'"
    ranges = manifest.ranges
    for name in ("acceleration", "matrix", "n_coils", "noise_level", "intensity"):
        low, high = getattr(ranges, name) or (0, 0)
        if not (0 <= low <= high and math.isfinite(high)):
            yield f"ranges.{name}: expected two growing numbers from 0, got {low:g} and {high:g}"
    for name in ("anatomies", "contrasts", "masks"):
        if not getattr(ranges, name):
            yield f"ranges.{name}: expected at least one name, got none"
