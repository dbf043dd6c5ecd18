"""Which slices are learnt from, and which are held out to judge by."""

from collections.abc import Sequence

import msgspec

from recon_core.errors import InputError
from recon_core.training.draws import Draws
from recon_core.training.slices import Slice


class Split(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of each source, a share of its subjects; of a source with one subject, a block of its slices."""

    held_out: float = 0.2
    """Share held out."""
    fold: int = 0
    """Which of the 1 / `held_out` shares is it."""
    gap: int = 2
    """Slices left out on either side of a held-out block: neighbours show nearly the same."""


def split_slices(slices: Sequence[Slice], split: Split) -> tuple[list[Slice], list[Slice]]:
    """Slices to train on and held-out ones. Subjects are in one of the two only, but for a source's only one.

    Raises InputError where nothing would be left on either side.
    """
    training: list[Slice] = []
    held_out: list[Slice] = []
    for source in dict.fromkeys(found.source for found in slices):
        of_source = [found for found in slices if found.source == source]
        subjects = sorted({found.subject for found in of_source})
        if len(subjects) > 1:
            shuffled = [subjects[i] for i in Draws("split", source).some(len(subjects), len(subjects))]
            chosen = set(shuffled[_share(len(shuffled), split)])
            training += [found for found in of_source if found.subject not in chosen]
            held_out += [found for found in of_source if found.subject in chosen]
            continue
        positions = sorted({found.position for found in of_source})
        block = positions[_share(len(positions), split)]
        away = [min(abs(found.position - place) for place in block) for found in of_source]
        training += [found for found, distance in zip(of_source, away, strict=True) if distance > split.gap]
        held_out += [found for found, distance in zip(of_source, away, strict=True) if distance == 0]
    if not training or not held_out:
        raise InputError(
            f"split: expected slices to train on and to hold out, got {len(training)} and {len(held_out)}; "
            "give more subjects, or more slices of one"
        )
    return training, held_out


def _share(n: int, split: Split) -> slice:
    n_folds = max(1, round(1 / split.held_out))
    size = max(1, round(n / n_folds))
    start = min((split.fold % n_folds) * size, n - size)
    return slice(start, min(start + size, n))
