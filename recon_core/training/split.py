"""Which slices are learnt from, and which are held out to judge by."""

from collections.abc import Sequence
from typing import Annotated

import msgspec

from recon_core.errors import InputError
from recon_core.training.draws import Draws
from recon_core.training.slices import Slice


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of each source, a share of its subjects; of a source with one subject, a block of its slices."""

    held_out: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.2
    """Share held out."""
    fold: int = 0
    """Which of the 1 / `held_out` shares is it."""
    gap: int = 2
    """Slices left out on either side of a held-out block: neighbours show nearly the same."""


def split_slices(slices: Sequence[Slice], split: Split) -> tuple[list[Slice], list[Slice]]:
    """Slices to train on and held-out ones.

    A subject is on one side only, in all sources that it is in, but for one that is a source's only subject:
    there, a block of positions is held out, the same in all contrasts.

    Raises InputError where nothing would be left on either side.
    """
    by_source = {
        source: {found.subject for found in slices if found.source == source}
        for source in dict.fromkeys(found.source for found in slices)
    }
    several = [subjects for subjects in by_source.values() if len(subjects) > 1]
    chosen = {subject for subjects in several for subject in _held_out_subjects(subjects, split)}
    whole = {subject for subjects in several for subject in subjects}
    blocks = {
        subject: _held_out_positions({found.position for found in slices if found.subject == subject}, split)
        for subject in {found.subject for found in slices} - whole
    }
    training: list[Slice] = []
    held_out: list[Slice] = []
    for found in slices:
        if found.subject in whole:
            (held_out if found.subject in chosen else training).append(found)
            continue
        distance = min(abs(found.position - place) for place in blocks[found.subject])
        if distance == 0:
            held_out.append(found)
        elif distance > split.gap:
            training.append(found)
    if not training or not held_out:
        raise InputError(
            f"split: expected slices to train on and to hold out, got {len(training)} and {len(held_out)}; "
            "give more subjects, or more slices of one"
        )
    return training, held_out


def _held_out_subjects(subjects: set[str], split: Split) -> list[str]:
    """A share of them in an order of no meaning, which depends on nothing but their names."""
    shuffled = sorted(sorted(subjects), key=lambda subject: Draws("split", subject).uniform())
    return shuffled[_share(len(shuffled), split)]


def _held_out_positions(positions: set[int], split: Split) -> list[int]:
    return sorted(positions)[_share(len(positions), split)]


def _share(n: int, split: Split) -> slice:
    n_folds = max(1, round(1 / split.held_out))
    size = max(1, round(n / n_folds))
    start = min((split.fold % n_folds) * size, n - size)
    return slice(start, min(start + size, n))
