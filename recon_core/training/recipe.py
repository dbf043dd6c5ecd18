"""A training recipe: a TOML file that says all there is to say about how weights come about."""

import tomllib
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import msgspec

from recon_core.engine.manifest import Interval, Precision
from recon_core.errors import RecipeError
from recon_core.nets.architecture import Count, Weight
from recon_core.training.guidance import Guidance
from recon_core.training.losses import Loss
from recon_core.training.sampling import Pattern, Sampling
from recon_core.training.simulation import Simulation
from recon_core.training.sources import Source
from recon_core.training.split import Split

MODEL = "model:"
"""What the start of a stage begins with where it is a model package."""


class _Record(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    pass


class Gate(_Record, frozen=True, kw_only=True):
    """Where the gate of a package departs from what training saw; the recipe says in a comment why.

    Intervals widen what was seen, but that of coils.
    """

    acceleration: Interval | None = None
    matrix: tuple[int, int] | None = None
    noise_level: Interval | None = None
    intensity: Interval | None = None
    n_coils: tuple[int, int] | None = None
    masks: tuple[Pattern, ...] | None = None
    """As `n_coils` in place of all that were trained with: others may have turned out no better than the
    fallback."""


class Net(_Record, frozen=True, kw_only=True):
    """The network that all stages build, each with changes of its own."""

    architecture: str
    """A name of `recon_core.nets.registry`."""
    config: dict[str, Any] = {}


class Stage(_Record, frozen=True, kw_only=True):
    """One training, from weights to weights."""

    name: str
    anatomies: tuple[str, ...] = ()
    """Those whose batches come, in turns; one named twice comes twice as often. All unless told."""
    config: dict[str, Any] = {}
    """Changes to the network's config."""
    start: str = ""
    """The earlier stage, or `model:` and the name of a model package, whose weights this one begins with,
    where names and shapes are the same. What it has beyond them, and all without a start, is new."""
    trains: Literal["all", "shared", "specific", "subnetwork", "guidance"] = "all"
    """Which parameters may change: all, where an anatomy's own step on its own batches only; those that all
    anatomies share; those of single anatomies; the sub-network at `depth`; or those that a guide is for, so
    that slices without one stay as they are."""
    depth: Count | None = None
    """Of a cascade that is trained one sub-network after the other: how many there are in this stage. Without
    `trains = "subnetwork"` the whole cascade up to there is trained, end to end."""
    teachers: dict[str, str] = {}
    """Anatomy to the earlier stage that it is taught by, for `loss.attention`."""
    loss: Loss = Loss(mae=1.0)
    learning_rate: Weight = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: Weight = 0.0
    """Of Adam: added to the gradient."""
    schedule: Literal["constant", "cosine"] = "constant"
    """`cosine`: the learning rate falls to zero over the epochs."""
    warm_up_steps: int = 0
    """Over which the learning rate rises from nothing."""
    largest_gradient: float | None = None
    """Norm to which longer gradients are cut."""
    averaging: float | None = None
    """Decay per step of the running mean of the weights, which is what the stage ends with; none without."""
    batch_size: Count = 4
    epochs: Count = 1
    steps_per_epoch: Count | None = None
    """Batches of an epoch; as many as show every slice once on average, unless told."""
    max_minutes: float | None = None
    """End after this time, whatever is left."""
    ships: bool = False
    """Whether its network becomes a package; of a recipe where none says so, the last does."""


class TrainingRecipe(_Record, frozen=True, kw_only=True, rename={"sources": "source", "stages": "stage"}):
    """The whole of it. Checked when it is read: names, types, and that stages refer to earlier ones."""

    name: str
    about: str
    version: str = "1"
    licence: str = "MIT"
    """Of the weights."""
    seed: int = 0
    network: Net
    sources: tuple[Source, ...]
    split: Split = Split()
    simulation: Simulation = Simulation()
    guidance: Guidance = Guidance()
    """Of networks that take a guide."""
    sampling: Sampling = Sampling()
    precision: tuple[Precision, ...] = ("float32",)
    """What the networks that are shipped may compute in."""
    gate: Gate = Gate()
    n_judged: Count = 16
    """Held-out slices of each source that the result is judged by."""
    stages: tuple[Stage, ...]

    @property
    def anatomies(self) -> tuple[str, ...]:
        """Those of the sources, in order."""
        return tuple(dict.fromkeys(source.anatomy for source in self.sources))

    @property
    def shipped_stages(self) -> tuple[Stage, ...]:
        """Whose networks become packages."""
        return tuple(stage for stage in self.stages if stage.ships) or self.stages[-1:]

    def anatomies_of(self, stage: Stage) -> tuple[str, ...]:
        """Whose batches a stage has."""
        return stage.anatomies or self.anatomies

    def config_of(self, stage: Stage) -> dict[str, Any]:
        """The network's config in a stage."""
        return {**self.network.config, **stage.config}


def recipe_from_toml(text: str, where: str) -> TrainingRecipe:
    """Read and check a recipe. `where` names the text in errors. Raises RecipeError."""
    try:
        recipe = msgspec.convert(tomllib.loads(text), TrainingRecipe)
    except (ValueError, RecursionError) as error:
        raise RecipeError(
            f"training recipe {where}: expected the fields of docs/training.md, got: {error}; correct it"
        ) from error
    if problem := _problem(recipe):
        raise RecipeError(f"training recipe {where}: {problem}")
    return recipe


def shipped_training_recipes() -> Mapping[str, str]:
    """The TOML text of every training recipe that comes with the package, by name."""
    folder = files("recon_core.training") / "recipes"
    entries = sorted(folder.iterdir(), key=lambda entry: entry.name)
    return {e.name.removesuffix(".toml"): e.read_text() for e in entries if e.name.endswith(".toml")}


def text_of_recipe(name_or_file: str) -> str:
    """A shipped recipe by its name, else the text of the file of that path. Raises RecipeError."""
    known = shipped_training_recipes()
    if name_or_file in known:
        return known[name_or_file]
    try:
        return Path(name_or_file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(
            f"training recipe '{name_or_file}': expected a TOML file or one of {', '.join(known)}, got: "
            f"{error}; correct the name or path"
        ) from error


def _problem(recipe: TrainingRecipe) -> str:
    if not recipe.sources or not recipe.stages:
        return "expected at least one [[source]] and one [[stage]], got none"
    names = {source.name for source in recipe.sources}
    for source in recipe.sources:
        if unknown := set(source.guided_by) - names:
            return f"source '{source.name}': expected to be guided by sources, got {', '.join(unknown)}"
    earlier: list[str] = []
    for stage in recipe.stages:
        where = f"stage '{stage.name}'"
        if stage.name in earlier:
            return f"{where}: expected a name of its own, got one that an earlier stage has"
        for referred in (stage.start, *stage.teachers.values()):
            if referred and referred not in earlier and not referred.startswith(MODEL):
                return (
                    f"{where}: expected an earlier stage of {', '.join(earlier) or 'none'}, got '{referred}'"
                )
        if unknown := set(recipe.anatomies_of(stage)) - set(recipe.anatomies):
            known = ", ".join(recipe.anatomies)
            return f"{where}: expected anatomies of the sources, {known}, got {', '.join(sorted(unknown))}"
        if stage.loss.attention and set(stage.teachers) != set(recipe.anatomies_of(stage)):
            return f"{where}: expected a teacher for each anatomy with loss.attention, got {stage.teachers}"
        if (stage.trains == "subnetwork") and stage.depth is None:
            return f"{where}: expected a depth with trains = 'subnetwork', got none"
        earlier.append(stage.name)
    return ""
