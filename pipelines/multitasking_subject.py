"""Subjects to simulate: drawn or made of images, scanned with every core there is."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch

from pipelines.anatomy_file import read_anatomy
from recon_core.dynamic.chest_phantom import chest_phantom
from recon_core.dynamic.moving_chest import FINER
from recon_core.dynamic.multitasking import MultitaskingScan, Protocol, random_subject
from recon_core.training.draws import Draws
from recon_core.training.dynamic_examples import feature_maps_of


def simulated_subject(
    protocol: Protocol, seed: int, anatomy: Path | None, field_strength_t: float = 3.0
) -> MultitaskingScan:
    """The scan of subject number `seed`; its anatomy is drawn by formulas unless a file is given."""
    n = FINER * protocol.matrix
    still = (
        chest_phantom(n, Draws(seed, "chest"), field_strength_t=field_strength_t)
        if anatomy is None
        else read_anatomy(anatomy, n, seed, field_strength_t)
    )
    return MultitaskingScan(random_subject(protocol, seed, still), protocol, seed)


def write_feature_maps(simulation: MultitaskingScan, rank: int, path: Path) -> None:
    """`backprojection` and `truth`, (1, rank, y, x), as training reads them; the file appears when whole."""
    with side_by_side() as n_threads:
        backprojection, truth = feature_maps_of(simulation, rank, n_threads)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, backprojection=backprojection[None], truth=truth[None])
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def side_by_side() -> Iterator[int]:
    """Within, readouts are made side by side in as many threads as there are cores; gives their number."""
    n_torch_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield os.cpu_count() or 1
    finally:
        torch.set_num_threads(n_torch_threads)
