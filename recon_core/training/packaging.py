"""What a trained network is shipped with: its manifest, from the recipe, the examples and the scores."""

import msgspec
from torch.utils.data import Dataset

from recon_core.engine.gate import Measured, covering
from recon_core.engine.manifest import Interval, Manifest, Ranges, Terms, Training, TrainingData
from recon_core.engine.store import ModelStore
from recon_core.nets.registry import ARCHITECTURES
from recon_core.training.evaluation import Table
from recon_core.training.examples import Batch
from recon_core.training.recipe import MODEL, Gate, Stage, TrainingRecipe

N_SEEN = 64
"""Training batches that the ranges are measured on."""


def package_name(recipe: TrainingRecipe, stage: Stage) -> str:
    """The recipe's name, with that of the stage where several are shipped."""
    return f"{recipe.name}_{stage.name}" if len(recipe.shipped_stages) > 1 else recipe.name


def trained_manifest(
    recipe: TrainingRecipe, stage: Stage, examples: Dataset[Batch], judgement: Table, training: Training
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
                guide_contrasts(recipe, anatomies),
            ),
            recipe.gate,
        ),
        metrics=judgement,
        training=training,
    )


def adapted_manifest(
    manifest: Manifest,
    site: str,
    new_anatomy: str | None,
    seen: Ranges,
    judgement: Table,
    training: Training,
) -> Manifest:
    """The manifest of a network that was fine-tuned to the data of a `site`.

    With a new anatomy it states what it did before, and the new one; else the data's anatomy alone.
    """
    config = manifest.config
    if new_anatomy is not None:
        config = {**config, "anatomies": [*config["anatomies"], new_anatomy]}
    return msgspec.structs.replace(
        manifest,
        version=f"{manifest.version}+{site}",
        config=config,
        precision=("float32",),
        terms=terms_of(training.data),
        ranges=_widened(manifest.ranges, seen, keeps_others=new_anatomy is not None),
        metrics={**manifest.metrics, **judgement} if new_anatomy is not None else judgement,
        training=training,
    )


def training_data(recipe: TrainingRecipe, stage: Stage) -> tuple[TrainingData, ...]:
    """The sources that a stage's weights come from, through earlier stages too."""
    anatomies = _anatomies_seen(recipe, stage)
    own = [
        TrainingData(name=s.name, terms=s.terms, licence=s.licence)
        for s in recipe.sources
        if s.anatomy in anatomies
    ]
    before = [
        found
        for name in _models_begun_with(recipe, stage)
        for found in ModelStore.default().load(name).manifest.training.data
    ]
    return tuple({found.name: found for found in (*before, *own)}.values())


def terms_of(data: tuple[TrainingData, ...]) -> Terms:
    """`research` as soon as any data are."""
    return "research" if any(found.terms == "research" for found in data) else "permissive"


def guide_contrasts(recipe: TrainingRecipe, anatomies: tuple[str, ...]) -> tuple[str, ...]:
    """Those of the sources that guide others, "any" where some are drawn at random; none for a network that
    takes no guide."""
    if not ARCHITECTURES[recipe.network.architecture].wants_guide:
        return ()
    guiding = {name for s in recipe.sources if s.anatomy in anatomies for name in s.guided_by}
    contrasts = [s.contrast for s in recipe.sources if s.name in guiding]
    return tuple(dict.fromkeys([*contrasts, "any"] if recipe.guidance.synthetic else contrasts))


def seen_ranges(
    examples: Dataset[Batch],
    anatomies: tuple[str, ...],
    contrasts: tuple[str, ...],
    masks: tuple[str, ...],
    guides: tuple[str, ...] = (),
) -> Ranges:
    """What the first training batches cover."""
    measured = (Measured.of(examples[step, 0].undersampled.normalised()[0]) for step in range(N_SEEN))
    return covering(measured, anatomies=anatomies, contrasts=contrasts, masks=masks, guides=guides)


def gated(ranges: Ranges, gate: Gate) -> Ranges:
    """The ranges that were seen, but for what the recipe says of the gate."""
    changes = msgspec.structs.asdict(gate)
    masks = changes.pop("masks") or ranges.masks
    n_coils = changes.pop("n_coils") or ranges.n_coils
    wider = {}
    for name, interval in changes.items():
        if interval is not None and getattr(ranges, name) is not None:
            low, high = getattr(ranges, name)
            wider[name] = (min(low, interval[0]), max(high, interval[1]))
    return msgspec.structs.replace(ranges, masks=masks, n_coils=n_coils, **wider)


def known_anatomies(recipe: TrainingRecipe, stage: Stage) -> tuple[str, ...]:
    """Those that the stage's network is for: its own, and, where it trains only what is specific to them,
    those of the stage that it starts from."""
    own = tuple(dict.fromkeys(recipe.anatomies_of(stage)))
    if stage.trains != "specific" or not stage.start:
        return own
    earlier = next(other for other in recipe.stages if other.name == stage.start)
    return tuple(dict.fromkeys((*known_anatomies(recipe, earlier), *own)))


def _models_begun_with(recipe: TrainingRecipe, stage: Stage) -> list[str]:
    """Packages that the stage starts from or is taught by, through earlier stages too."""
    referred = (stage.start, *stage.teachers.values())
    found = [name.removeprefix(MODEL) for name in referred if name.startswith(MODEL)]
    for other in recipe.stages:
        if other.name in referred:
            found += _models_begun_with(recipe, other)
    return found


def _anatomies_seen(recipe: TrainingRecipe, stage: Stage) -> set[str]:
    """Those of the stage and of all that it starts from or is taught by."""
    seen = set(recipe.anatomies_of(stage))
    for other in recipe.stages:
        if other.name == stage.start or other.name in stage.teachers.values():
            seen |= _anatomies_seen(recipe, other)
    return seen


def _widened(before: Ranges, seen: Ranges, keeps_others: bool) -> Ranges:
    """What an adapted network may be given: numbers of either; names of the site's, or of both."""

    def hull(name: str) -> Interval:
        return min(getattr(before, name)[0], getattr(seen, name)[0]), max(
            getattr(before, name)[1], getattr(seen, name)[1]
        )

    def names(name: str) -> tuple[str, ...]:
        both = (*getattr(before, name), *getattr(seen, name)) if keeps_others else getattr(seen, name)
        return tuple(dict.fromkeys(both))

    return msgspec.structs.replace(
        seen,
        anatomies=names("anatomies"),
        contrasts=names("contrasts"),
        masks=before.masks,
        **{name: hull(name) for name in ("acceleration", "matrix", "n_coils", "noise_level", "intensity")},
    )
