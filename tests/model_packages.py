"""Model packages of small untrained networks, whose ranges hold the scans of the tests."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from recon_core.engine.manifest import Manifest, Ranges, Training, TrainingData
from recon_core.engine.package import MANIFEST, SIGNATURE, ModelPackage, write_package
from recon_core.nets.registry import build

NAMES = {
    "calibrated_cascade": "multicoil_cascade",
    "d5c5": "universal_d5c5_distilled",
    "guided_cascade": "guided_cascade",
}
"""What the recipes call the package of an architecture."""
CONFIGS: dict[str, dict[str, Any]] = {
    "calibrated_cascade": {"n_subnetworks": 1, "n_layers": 1, "n_features": 4, "n_projections": 2},
    "d5c5": {"anatomies": ["brain", "knee"], "n_cascades": 1, "n_features": 4},
    "guided_cascade": {
        "n_cascades": 1,
        "widths": [4, 6],
        "wavelet_iterations": 2,
        "guide_widths": [4, 4],
    },
}


def network_package(
    folder: Path,
    architecture: str = "calibrated_cascade",
    *,
    weights: Callable[[torch.Tensor], torch.Tensor] = lambda drawn: drawn,
    seed: int = 0,
    **ranges: Any,
) -> ModelPackage:
    """A package under the name that recipes know, in `folder`; every weight is what `weights` makes of it."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = build(architecture, CONFIGS[architecture])
    network.load_state_dict({name: weights(drawn) for name, drawn in network.state_dict().items()})
    within: dict[str, Any] = {
        "anatomies": ("brain", "knee"),
        "contrasts": ("T1",),
        "masks": ("equispaced_lines", "poisson_disc"),
        "acceleration": (1.2, 5),
        "matrix": (8, 128),
        "n_coils": (1, 8),
        "noise_level": (0, 0.5),
        "intensity": (1, 20),
    }
    manifest = Manifest(
        name=NAMES[architecture],
        version="1",
        about="untrained",
        architecture=architecture,
        config=CONFIGS[architecture],
        precision=("float32",),
        licence="MIT",
        terms="permissive",
        ranges=Ranges(**(within | ranges)),
        metrics={},
        training=Training(
            recipe="none",
            command="none",
            seed=seed,
            minutes=0,
            device="none",
            data=(TrainingData(name="none", terms="permissive", licence="MIT"),),
        ),
    )
    return write_package(folder / NAMES[architecture], network, manifest)


def rewrite_manifest(folder: Path, old: str, new: str) -> None:
    """Change the manifest, and sign it again."""
    text = (folder / MANIFEST).read_text()
    assert old in text
    text = text.replace(old, new)
    (folder / MANIFEST).write_text(text)
    (folder / SIGNATURE).write_text(f"{hashlib.sha256(text.encode()).hexdigest()}  {MANIFEST}\n")
