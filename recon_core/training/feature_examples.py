"""Feature maps to learn from: backprojections and the maps that they should have been."""

from collections.abc import Sequence

import torch
from torch.utils.data import Dataset

from recon_core.errors import InputError
from recon_core.nets.feature_maps import FeatureMaps
from recon_core.training.draws import Draws
from recon_core.training.examples import Batch, Place
from recon_core.training.sampling import Part
from recon_core.training.slices import Slice


class FeatureExamples(Dataset[Batch]):
    """Batch `(step, rank)`: pieces of slices of the anatomy whose turn it is, turned, mirrored and rephased.

    The rows of a temporal basis have phases of no meaning: in every example each coefficient has another one.
    """

    def __init__(
        self,
        slices: Sequence[Slice],
        anatomies: Sequence[str],
        *,
        matrix: tuple[int, int],
        batch_size: int,
        part: Part,
        seed: int,
    ) -> None:
        """`matrix` is `(ny, nx)` of the pieces, at most; held-out slices stay whole."""
        self._anatomies = tuple(anatomies)
        self._matrix, self._batch_size = matrix, batch_size
        self._part, self._seed = part, seed
        self._slices = {anatomy: _fitting(slices, anatomy) for anatomy in anatomies}

    def __getitem__(self, place: Place) -> Batch:
        step, rank = place
        anatomy = self._anatomies[step % len(self._anatomies)]
        draws = Draws(self._seed, self._part, step, rank)
        slices = self._slices[anatomy]
        chosen = [slices[i] for i in draws.some(len(slices), self._batch_size)]
        both = torch.stack([_varied(found.data, self._matrix, draws) for found in chosen])
        return Batch(FeatureMaps(maps=both[:, 0]), both[:, 1], anatomy)

    def example(self, found: Slice, key: object) -> Batch:
        """One whole slice as a batch of its own; `key` is of no importance."""
        return Batch(FeatureMaps(maps=found.data[:1]), found.data[1:], found.anatomy)


def _fitting(slices: Sequence[Slice], anatomy: str) -> list[Slice]:
    found = [one for one in slices if one.anatomy == anatomy and one.kind == "feature_maps"]
    if not found or len({one.data.shape for one in found}) != 1:
        raise InputError(
            f"training: expected feature maps of '{anatomy}', of one rank and matrix, got "
            f"{len(found)} slices of shapes {sorted({tuple(one.data.shape) for one in found})}; "
            "change the sources"
        )
    return found


def _varied(both: torch.Tensor, matrix: tuple[int, int], draws: Draws) -> torch.Tensor:
    """`(2, L, y, x)`: the same piece of both, seen the same way."""
    for axis, wanted in zip((-2, -1), matrix, strict=True):
        length = both.shape[axis]
        n = min(wanted, length)
        both = both.narrow(axis, draws.integer(0, length - n), n)
        if draws.chance(0.5):
            both = both.flip(axis)
    phases = draws.uniforms(0, 2 * torch.pi, both.shape[1], 1, 1)
    both = both * torch.polar(torch.ones_like(phases), phases)
    return both.mT if both.shape[-1] == both.shape[-2] and draws.chance(0.5) else both
