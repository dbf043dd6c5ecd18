"""What a trained network is shipped with: its manifest, from the recipe, the examples and the scores."""

import msgspec

from recon_core.engine.gate import Measured, covering
from recon_core.engine.manifest import Manifest, Ranges, Terms, Training, TrainingData
from recon_core.training.evaluation import Table
from recon_core.training.examples import Examples
from recon_core.training.recipe import Gate, Stage, TrainingRecipe

N_SEEN = 64
"""Training batches that the ranges are measured on."""


def package_name(recipe: TrainingRecipe, stage: Stage) -> str:
    """The recipe's name, with that of the stage where several are shipped."""
    return f"{recipe.name}_{stage.name}" if len(recipe.shipped_stages) > 1 else recipe.name


def trained_manifest(
    recipe: TrainingRecipe, stage: Stage, examples: Examples, judgement: Table, training: Training
) -> Manifest:
    """The manifest of a stage's network. Its terms are the strictest of the data it comes from."""
    anatomies = known_anatomies(recipe, stage)
    return Manifest(
        name=package_name(recipe, stage),
        version=recipe.version,
        about=recipe.about,
        architecture=recipe.network.architecture,
        config=recipe.config_of(stage),
        precision=recipe.precision,
        licence=recipe.licence,
        terms=terms_of(training.data),
        ranges=gated(
            seen_ranges(
                examples,
                anatomies,
                tuple(dict.fromkeys(s.contrast for s in recipe.sources if s.anatomy in anatomies)),
                tuple(dict.fromkeys(recipe.sampling.patterns)),
            ),
            recipe.gate,
        ),
        metrics=judgement,
        training=training,
    )


def training_data(recipe: TrainingRecipe, stage: Stage) -> tuple[TrainingData, ...]:
    """The sources that a stage's weights come from, through earlier stages too."""
    anatomies = _anatomies_seen(recipe, stage)
    return tuple(
        TrainingData(name=s.name, terms=s.terms, licence=s.licence)
        for s in recipe.sources
        if s.anatomy in anatomies
    )


def terms_of(data: tuple[TrainingData, ...]) -> Terms:
    """`research` as soon as any data are."""
    return "research" if any(found.terms == "research" for found in data) else "permissive"


def seen_ranges(
    examples: Examples, anatomies: tuple[str, ...], contrasts: tuple[str, ...], masks: tuple[str, ...]
) -> Ranges:
    """What the first training batches cover."""
    measured = (Measured.of(examples[step, 0].undersampled.normalised()[0]) for step in range(N_SEEN))
    return covering(measured, anatomies=anatomies, contrasts=contrasts, masks=masks)


def gated(ranges: Ranges, gate: Gate) -> Ranges:
    """The ranges that were seen, but for what the recipe says of the gate."""
    changes = msgspec.structs.asdict(gate)
    masks = changes.pop("masks") or ranges.masks
    wider = {}
    for name, interval in changes.items():
        if interval is not None:
            low, high = getattr(ranges, name)
            wider[name] = (min(low, interval[0]), max(high, interval[1]))
    return msgspec.structs.replace(ranges, masks=masks, **wider)


def known_anatomies(recipe: TrainingRecipe, stage: Stage) -> tuple[str, ...]:
    """Those that the stage's network is for: its own, and, where it trains only what is specific to them,
    those of the stage that it starts from."""
    own = tuple(dict.fromkeys(recipe.anatomies_of(stage)))
    if stage.trains != "specific" or not stage.start:
        return own
    earlier = next(other for other in recipe.stages if other.name == stage.start)
    return tuple(dict.fromkeys((*known_anatomies(recipe, earlier), *own)))


def _anatomies_seen(recipe: TrainingRecipe, stage: Stage) -> set[str]:
    """Those of the stage and of all that it starts from or is taught by."""
    seen = set(recipe.anatomies_of(stage))
    for other in recipe.stages:
        if other.name == stage.start or other.name in stage.teachers.values():
            seen |= _anatomies_seen(recipe, other)
    return seen
