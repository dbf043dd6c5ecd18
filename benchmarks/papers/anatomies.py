"""The images of several anatomies that two of the experiments share, and which subjects are held out."""

from dataclasses import dataclass

import msgspec

from benchmarks.papers.options import Options
from recon_core.training.recipe import TrainingRecipe
from recon_core.training.slices import Slice
from recon_core.training.sources import Source, read_slices
from recon_core.training.split import Split, split_slices

SPLIT = Split(held_out=0.2, fold=3)
"""This fold, for it holds out a head that was measured whole, with skull and skin."""
HEADS = ("brain_multicontrast_*.npz", "brain_3t_*.npz")
SOURCES = (
    Source(
        name="heads_t1",
        files=HEADS,
        arrays="T1*",
        every=2,
        anatomy="brain",
        licence="MIT, CC0, unstated (BraTS example)",
        terms="research",
    ),
    Source(
        name="heads_t2",
        files=("brain_multicontrast_t1_t1c_*.npz", "brain_3t_*.npz"),
        arrays="T2",
        every=2,
        anatomy="brain",
        licence="CC0, unstated (BraTS example)",
        terms="research",
    ),
    Source(
        name="abdomen_t2",
        files=("abdomen_t2_labelled.npz",),
        arrays="image_*",
        subject=r"image_\d+",
        anatomy="abdomen",
        licence="CC-BY-SA-4.0",
        terms="permissive",
    ),
    Source(
        name="cardiac_short_axis",
        files=("cardiac_short_axis_labelled.npz",),
        arrays="image_*",
        subject=r"patient\d+",
        anatomy="cardiac",
        licence="unstated (ACDC)",
        terms="research",
    ),
)
"""Four heads, eight abdomens, three hearts: every source has several subjects."""
HEAD = Source(
    name="head_t1",
    files=("head_t1_isotropic_0p67mm.npz",),
    arrays="volume",
    anatomy="brain",
    licence="PDDL",
    terms="permissive",
)
"""A fifth head, which is only learnt from: of one subject there would be a block of slices to judge by."""
PROSTATE = Source(
    name="prostate_t2",
    files=("prostate_t2.npz",),
    anatomy="prostate",
    licence="unstated (ProstateX)",
    terms="research",
)
"""One subject, of which a block of slices is held out."""


@dataclass(frozen=True)
class Sides:
    """Slices to learn from and held-out ones."""

    training: list[Slice]
    held_out: list[Slice]

    @property
    def in_words(self) -> dict[str, str]:
        """By anatomy, how many there are, and whose."""
        return {
            anatomy: ", ".join(
                f"{_counted(slices, anatomy)} {what_for}"
                for what_for, slices in {"to learn from": self.training, "held out": self.held_out}.items()
            )
            for anatomy in dict.fromkeys(found.anatomy for found in [*self.training, *self.held_out])
        }


def sides_of(sources: tuple[Source, ...], options: Options) -> Sides:
    """The slices of both sides, `HEAD` on one."""
    training, held_out = split_slices(read_slices((*sources, HEAD), [options.data]), SPLIT)
    return Sides(training, [found for found in held_out if found.source != HEAD.name])


def as_in_the_papers(recipe: TrainingRecipe, options: Options) -> TrainingRecipe:
    """One small matrix, phase the same everywhere, no augmentation, a twelfth of the lines central."""
    return msgspec.structs.replace(
        recipe,
        simulation=msgspec.structs.replace(
            recipe.simulation, matrices=((options.matrix, options.matrix),), augment=False, phase=0.0
        ),
        sampling=msgspec.structs.replace(recipe.sampling, calibration=(options.matrix // 12,)),
    )


def _counted(slices: list[Slice], anatomy: str) -> str:
    found = [one for one in slices if one.anatomy == anatomy]
    n_subjects = len({one.subject for one in found})
    return f"{len(found)} slices of {n_subjects} subject{'s' * (n_subjects > 1)}"
