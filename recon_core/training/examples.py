"""Batches to learn from, each a function of its number: workers, order and interruptions change nothing."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from recon_core.coils.spirit_kernel import spirit_kernel
from recon_core.engine.slices import joined
from recon_core.errors import InputError
from recon_core.nets.feature_maps import FeatureMaps
from recon_core.nets.undersampled import Undersampled
from recon_core.training.draws import Draws
from recon_core.training.guidance import Guidance, guided_view
from recon_core.training.known_maps import calibration_samples
from recon_core.training.retrospective import measured_sensitivities, undersampled_scan
from recon_core.training.sampling import Part, Sampling, drawn_pattern
from recon_core.training.simulation import Simulation, simulate
from recon_core.training.slices import Slice

Place = tuple[int, int]
"""Number of a training step, and of the process that takes a part in it."""


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Undersampled slices, or feature maps, of one anatomy, not normalised, and what they should become."""

    undersampled: Undersampled | FeatureMaps
    target: torch.Tensor
    """`(slice, y, x)`, or `(slice, L, y, x)` of feature maps."""
    anatomy: str

    def to(self, device: torch.device) -> "Batch":
        """The same batch on another device."""
        return Batch(self.undersampled.to(device), self.target.to(device), self.anatomy)


class Examples(Dataset[Batch]):
    """Batch `(step, rank)`: slices drawn at random from the anatomy whose turn it is.

    Anatomies take turns step by step, so that every process works on the same one. A batch has one matrix,
    one number of coils, and slices that can be stacked: images in any mixture, or k-space of one shape.
    """

    def __init__(
        self,
        slices: Sequence[Slice],
        anatomies: Sequence[str],
        simulation: Simulation,
        sampling: Sampling,
        *,
        spirit_kernel_width: int,
        batch_size: int,
        part: Part,
        seed: int,
        guidance: Guidance | None = None,
        guided_by: Mapping[str, Sequence[str]] = {},
    ) -> None:
        """With `guidance`, slices bring guides; `guided_by` is that of `Source`, by the source's name."""
        self._anatomies = tuple(anatomies)
        self._simulation, self._sampling = simulation, sampling
        self._batch_size, self._part, self._seed = batch_size, part, seed
        self._spirit_kernel_width = spirit_kernel_width
        self._pools = {anatomy: _pools(slices, anatomy) for anatomy in anatomies}
        self._scans = [found for found in slices if found.kind == "kspace" and len(found.data) > 1]
        self._sensitivities: dict[tuple[int, int], torch.Tensor] = {}
        self._guidance, self._guided_by = guidance, guided_by
        self._slices = slices
        self._of_place = {(one.source, one.subject, one.position): one for one in slices}

    def __getitem__(self, place: Place) -> Batch:
        step, rank = place
        anatomy = self._anatomies[step % len(self._anatomies)]
        draws = Draws(self._seed, self._part, step, rank)
        pools = self._pools[anatomy]
        number = draws.integer(0, sum(map(len, pools)) - 1)
        pool = next(p for p in pools if (number := number - len(p)) < 0)
        chosen = [pool[i] for i in draws.some(len(pool), self._batch_size)]
        matrix, n_coils = draws.choice(self._simulation.matrices), draws.choice(self._simulation.n_coils)
        made = [
            self._example(found, matrix, n_coils, Draws(self._seed, self._part, step, rank, i))
            for i, found in enumerate(chosen)
        ]
        return Batch(joined([u for u, _ in made]), torch.cat([target for _, target in made]), anatomy)

    def example(self, found: Slice, key: object) -> Batch:
        """One slice as a batch of its own, by a key of its own; for judging."""
        draws = Draws(self._seed, self._part, key)
        matrix, n_coils = draws.choice(self._simulation.matrices), draws.choice(self._simulation.n_coils)
        return Batch(*self._example(found, matrix, n_coils, draws), found.anatomy)

    def _example(
        self, found: Slice, matrix: tuple[int, int], n_coils: int, draws: Draws
    ) -> tuple[Undersampled, torch.Tensor]:
        simulation = self._simulation
        if found.kind == "kspace":
            matrix = (found.data.shape[1], found.data.shape[2])
        sampled = drawn_pattern(self._sampling, matrix, self._part, draws)
        if found.kind == "kspace":
            made = undersampled_scan(found, sampled, draws, augment=simulation.augment)
        else:
            guide = None
            if self._guidance is not None:
                found, guide = self._guided(found, matrix, self._guidance, draws)
                # What folds in lies outside the view that the guide shares.
                simulation = msgspec.structs.replace(simulation, augment=False, wrapped=0.0)
            sensitivities = None
            if draws.chance(simulation.measured_maps):
                sensitivities = self._measured_sensitivities(n_coils, draws)
            made = simulate(found, sampled, n_coils, simulation, draws, sensitivities)
            made = replace(made[0], guide=guide), made[1]
        return _with_kernel(made[0], self._spirit_kernel_width), made[1]

    def _guided(
        self, found: Slice, matrix: tuple[int, int], guidance: Guidance, draws: Draws
    ) -> tuple[Slice, torch.Tensor]:
        """A view of the slice, and a batch of one guide."""
        places = [(source, found.subject, found.position) for source in self._guided_by.get(found.source, ())]
        contrasts = [self._of_place[place] for place in places if place in self._of_place]
        image, guide = guided_view(
            found,
            contrasts,
            self._slices,
            matrix,
            guidance,
            self._simulation,
            draws,
            best=self._part == "test",
        )
        return replace(found, data=image), guide[None]

    def _measured_sensitivities(self, n_coils: int, draws: Draws) -> torch.Tensor | None:
        number = draws.integer(0, len(self._scans) - 1) if self._scans else 0
        if n_coils == 1 or not self._scans or len(self._scans[number].data) < n_coils:
            return None
        key = (number, n_coils)
        if key not in self._sensitivities:
            self._sensitivities[key] = measured_sensitivities(self._scans[number], n_coils)
        return self._sensitivities[key]


class Steps(Sampler[Place]):
    """The steps of one epoch after another; `set_epoch` says which. Lightning calls it."""

    def __init__(self, n_steps: int, rank: int = 0, first_epoch: int = 0) -> None:
        self._n_steps, self._rank, self._epoch = n_steps, rank, first_epoch

    def set_epoch(self, epoch: int) -> None:
        """Go on with this epoch."""
        self._epoch = epoch

    def __iter__(self) -> Iterator[Place]:
        first = self._epoch * self._n_steps
        return ((step, self._rank) for step in range(first, first + self._n_steps))

    def __len__(self) -> int:
        return self._n_steps


def loader(
    examples: Dataset[Batch], n_steps: int, *, rank: int = 0, first_epoch: int = 0, n_workers: int = 0
) -> DataLoader[Batch]:
    """Batches of `n_steps` steps an epoch, made by `n_workers` processes, or in this one."""
    return DataLoader(
        examples,
        batch_size=None,
        sampler=Steps(n_steps, rank, first_epoch),
        num_workers=n_workers,
        persistent_workers=n_workers > 0,
        collate_fn=as_it_is,  # type: ignore[arg-type]
    )


def _pools(slices: Sequence[Slice], anatomy: str) -> list[list[Slice]]:
    """Slices of the anatomy by what can be stacked."""
    pools: dict[object, list[Slice]] = {}
    for found in slices:
        if found.anatomy == anatomy:
            pools.setdefault(found.data.shape if found.kind == "kspace" else None, []).append(found)
    if not pools:
        known = ", ".join(sorted({found.anatomy for found in slices})) or "none"
        raise InputError(f"training: expected slices of '{anatomy}', got some of {known}; add a source of it")
    return list(pools.values())


def _with_kernel(undersampled: Undersampled, width: int) -> Undersampled:
    if not width or undersampled.kspace.shape[1] == 1:
        return undersampled
    calibration = calibration_samples(undersampled.kspace[0], undersampled.sampled[0])[:, 0]
    return replace(undersampled, spirit_kernel=spirit_kernel(calibration, width)[None])


def as_it_is(batch: Batch) -> Batch:
    """What a data loader is to make of a batch that is one already."""
    return batch
