"""Scans for recipes with networks, and what their images must say."""

from collections.abc import Iterable
from functools import cache
from typing import Any

import ismrmrd
import numpy as np

from gadgets.mrd_images import FALLBACK, NOTE
from gadgets.reconstructed import METHOD
from pipelines.recipe import recipe_by_name
from pipelines.reconstruction import reconstruct_scan
from pipelines.simulated_scan import simulated_scan
from pipelines.sources import Scan
from recon_core.engine.engine import Engine
from recon_core.simulate import simulate_acquisition

SIMULATION = simulate_acquisition((48, 48), 4)
SCAN = simulated_scan(SIMULATION, acceleration=2, n_calibration_lines=16)
THREE_SLICES = simulated_scan(
    simulate_acquisition((48, 48), 4, n_slices=3), acceleration=2, n_calibration_lines=16
)
CASCADE = "multicoil_cascade"


def images_of(
    engine: Engine,
    scan: Scan = SCAN,
    recipe: str = "cartesian_cascade",
    items: Iterable[Any] = (),
    **set_: Any,
) -> list[ismrmrd.Image]:
    parameters = {f"NetworkReconstruction.{name}": value for name, value in set_.items()}
    chosen = recipe_by_name(recipe).with_parameters(parameters)
    return list(reconstruct_scan(chosen, scan.header_xml, items or scan.items(), engine=engine))


@cache
def classical(recipe: str = "cartesian_wavelet", scan: Scan = SCAN) -> list[ismrmrd.Image]:
    return list(reconstruct_scan(recipe_by_name(recipe), scan.header_xml, scan.items()))


def note_of(image: ismrmrd.Image) -> str:
    notes = image.meta[NOTE]
    return notes if isinstance(notes, str) else "\n".join(notes)


def assert_is_network(image: ismrmrd.Image) -> None:
    assert image.meta[FALLBACK] == "false"
    assert image.meta[METHOD] == f"network {CASCADE}@1"
    assert NOTE not in image.meta
    assert "SeriesDescription" not in image.meta


def assert_fell_back(image: ismrmrd.Image, expected: ismrmrd.Image, reason: str) -> None:
    """The pixels of the classical recipe, and three places that say so."""
    assert np.array_equal(image.data, expected.data)
    method = expected.meta[METHOD]
    assert image.meta[METHOD] == method
    assert image.meta[FALLBACK] == "true"
    assert image.meta["SeriesDescription"] == f"(fallback: {method})"
    assert reason in note_of(image)
    assert note_of(image).endswith(f"fallback: {method}")
    assert note_of(image).split("\n")[-1] in image.meta["ImageComments"]
    assert "Reconstream.Model" not in image.meta
