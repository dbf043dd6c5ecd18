"""A recipe is data: a name, what it is about, its gadgets in order. It is checked before anything runs."""

import hashlib
import tomllib
from collections.abc import Mapping, Sequence
from functools import cached_property
from importlib.resources import files
from pathlib import Path
from types import UnionType
from typing import Any, Literal, get_args, get_origin

import ismrmrd
import msgspec

from gadgets.gadget import Gadget
from gadgets.records import ImageSeries, KSpace, NonCartesianKSpace, Readouts
from gadgets.registry import known_gadgets
from recon_core.errors import RecipeError

Start = Literal["readouts", "k-space", "images"]

STREAM_INPUTS: dict[Start, tuple[type, ...]] = {
    "readouts": (Readouts, ismrmrd.Acquisition, ismrmrd.Image, ismrmrd.Waveform),
    "k-space": (KSpace, ismrmrd.Waveform),
    "images": (ImageSeries, ismrmrd.Image, ismrmrd.Waveform),
}
"""What a stream can bring without any gadget emitting it, by what a recipe starts from."""


class Step(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename={"parameters": "with"}):
    """One `[[gadget]]` of a recipe: the gadget's name and its parameters."""

    use: str
    parameters: dict[str, Any] = {}


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, dict=True, rename={"steps": "gadget"}):
    """The gadgets of a reconstruction, in order."""

    name: str
    about: str
    steps: tuple[Step, ...]
    start: Start = "readouts"
    """What the recipe is given. Scanners give readouts or images; k-space comes from a Gadgetron."""
    makes_images: bool = True
    """Whether images must come out; not of a scan that only prepares later ones, such as a noise scan."""
    notes: tuple[str, ...] = ()
    """What was lost when the recipe was translated from another system's configuration."""
    instead: dict[str, str] = {}
    """Shipped recipes that take its place, by the trajectory that a scan's header states."""

    @cached_property
    def hash(self) -> str:
        """SHA-256 of the gadgets and their parameters, whatever the recipe is called."""
        return hashlib.sha256(msgspec.json.encode(self.steps, order="deterministic")).hexdigest()

    @cached_property
    def gadgets(self) -> tuple[Gadget, ...]:
        """The gadgets, built and checked. Raises RecipeError on an unknown name or parameter, or a misfit."""
        gadgets = tuple(_built(self.name, number, step) for number, step in enumerate(self.steps, 1))
        _check_types(self.name, gadgets, self.start, self.makes_images)
        return gadgets

    def for_scan(self, header: Any) -> "Recipe":
        """The recipe for a scan with this MRD header: itself, or the one to be taken instead."""
        encoding = header.encoding[0] if header.encoding else None
        trajectory = encoding.trajectory.value if encoding and encoding.trajectory else ""
        if self.start != "readouts" or trajectory not in self.instead:
            return self
        recipe = recipe_by_name(self.instead[trajectory])
        return msgspec.structs.replace(recipe, notes=(*self.notes, *recipe.notes))

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the model packages that the gadgets ask the engine for."""
        return tuple(model for gadget in self.gadgets for model in gadget.models)

    def starting_from(self, start: Start) -> "Recipe":
        """What is left to do of the recipe when the data are already k-space or images."""
        done: tuple[type, ...] = (Readouts, ismrmrd.Acquisition, ismrmrd.Waveform)
        if start == "images":
            done = (*done, KSpace, NonCartesianKSpace)
        steps = [
            step
            for step, gadget in zip(self.steps, self.gadgets, strict=True)
            if start == self.start or not all(issubclass(t, done) for t in types_of(gadget.accepts))
        ]
        return msgspec.structs.replace(self, steps=tuple(steps), start=start)

    def with_parameters(self, overrides: Mapping[str, Any]) -> "Recipe":
        """The recipe with parameters replaced, as `{"Gadget.parameter": value}`; strings are converted.

        Raises RecipeError when no step uses the gadget.
        """
        steps = list(self.steps)
        for key, value in overrides.items():
            use, _, parameter = key.partition(".")
            numbers = [i for i, step in enumerate(steps) if step.use == use]
            if not numbers or not parameter:
                uses = ", ".join(step.use for step in steps)
                raise RecipeError(
                    f"recipe '{self.name}', parameter '{key}': expected Gadget.parameter "
                    f"with a gadget of this recipe ({uses}); correct the name, or choose the recipe that "
                    "uses the gadget by name to tune it"
                )
            for i in numbers:
                steps[i] = Step(use, {**steps[i].parameters, parameter: value})
        return msgspec.structs.replace(self, steps=tuple(steps))


def recipe_from_toml(text: str, where: str) -> Recipe:
    """Read and check a recipe. `where` names the text in errors. Raises RecipeError."""
    table: dict[str, Any] = {}
    try:
        table = tomllib.loads(text)
        recipe = msgspec.convert(table, Recipe)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        wrong = _wrong_key(table) or f"expected name, about and [[gadget]] tables, got: {error}"
        raise RecipeError(
            f"recipe {where}: {wrong}; `reconstream recipes show cartesian_fft` is an example"
        ) from error
    _ = recipe.gadgets
    return recipe


def shipped_recipes() -> dict[str, str]:
    """The TOML text of every recipe that comes with the package, by name."""
    folder = files("pipelines") / "recipes"
    return {
        entry.name.removesuffix(".toml"): entry.read_text()
        for entry in sorted(folder.iterdir(), key=lambda entry: entry.name)
        if entry.name.endswith(".toml")
    }


def recipe_by_name(name: str) -> Recipe:
    """A shipped recipe; an ending `.toml` or `.xml` is ignored. The name is never opened as a path."""
    shipped = shipped_recipes()
    wanted = name.strip().removesuffix(".toml").removesuffix(".xml")
    if wanted not in shipped:
        raise RecipeError(
            f"recipe '{name[:80]}': expected one of {', '.join(shipped)}; choose one of these, "
            f"or send the recipe's text itself"
        )
    return recipe_from_toml(shipped[wanted], f"'{wanted}'")


def recipe_from_text(text: str, where: str) -> Recipe:
    """A recipe in full: Gadgetron XML when it begins with "<", else TOML. Raises RecipeError."""
    if text.lstrip().startswith("<"):
        from pipelines.gadgetron_xml import recipe_from_xml  # which builds on this module

        return recipe_from_xml(text, where)
    return recipe_from_toml(text, where)


def recipe_from_file(path: Path) -> Recipe:
    """A recipe of the user's own, named on the command line. Raises RecipeError."""
    return recipe_from_text(text_of(path), str(path))


def text_of(path: Path) -> str:
    """What stands in a recipe's file, unchecked. Raises RecipeError when it is no text."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RecipeError(f"recipe {path}: expected a text file, got: {error}; check the path") from error


def _wrong_key(table: Mapping[str, Any]) -> str:
    """The first key, of the recipe or of one of its gadgets, that has no meaning, or that is missing."""
    tables: list[tuple[str, Any, type[msgspec.Struct]]] = [("", table, Recipe)] if table else []
    steps = table.get("gadget")
    if isinstance(steps, list):
        tables += [(f"gadget {number}: ", step, Step) for number, step in enumerate(steps, 1)]
    for place, given, record in tables:
        fields = msgspec.structs.fields(record)
        known = [field.encode_name for field in fields]
        if not isinstance(given, Mapping):
            return f"{place}expected a table, got {given!r}"
        for key in given:
            if key not in known:
                return f"{place}expected no keys but {', '.join(known)}, got '{key}'"
        for field in fields:
            if field.required and field.encode_name not in given:
                return f"{place}expected {field.encode_name}, got none"
    return ""


def _built(recipe: str, number: int, step: Step) -> Gadget:
    known = known_gadgets()
    if step.use not in known:
        raise RecipeError(
            f"recipe '{recipe}', gadget {number}: expected one of {', '.join(sorted(known))}, "
            f"got '{step.use[:80]}'; correct the name or install the package that has it"
        )
    try:
        return msgspec.convert(step.parameters, known[step.use], strict=False)
    except msgspec.ValidationError as error:
        wrong = _wrong_parameter(known[step.use], step.parameters) or str(error)
        raise RecipeError(
            f"recipe '{recipe}', gadget {number} ({step.use}): {wrong}; "
            f"`reconstream gadgets show {step.use}` explains them"
        ) from error


def _wrong_parameter(gadget: type[Gadget], parameters: Mapping[str, Any]) -> str:
    """What was expected and what came instead, of the first parameter that is wrong."""
    types = {field.name: field.type for field in msgspec.structs.fields(gadget)}
    for name, value in parameters.items():
        if name not in types:
            return f"expected parameters of {', '.join(types) or 'no name'}, got '{name}'"
        try:
            msgspec.convert(value, types[name], strict=False)
        except msgspec.ValidationError:
            return f"expected {name} to be {_in_words(types[name])}, got {value!r}"
    return ""


def _in_words(expected: Any) -> str:
    if get_origin(expected) is Literal:
        return f"one of {', '.join(map(str, get_args(expected)))}"
    return expected.__name__ if isinstance(expected, type) else str(expected).replace("typing.", "")


def _check_types(recipe: str, gadgets: Sequence[Gadget], start: Start, makes_images: bool) -> None:
    """Every gadget must be able to receive something, and images, if wanted, must come out at the end."""
    available: set[type] = set(STREAM_INPUTS[start])
    for number, gadget in enumerate(gadgets, 1):
        accepted = types_of(gadget.accepts)
        if not any(issubclass(have, want) for have in available for want in accepted):
            raise RecipeError(
                f"recipe '{recipe}', gadget {number} ({type(gadget).__name__}): expects "
                f"{_names(accepted)}, but the gadgets before it give only {_names(available)}; "
                f"put a gadget that emits it in front"
            )
        available = {t for t in available if not issubclass(t, accepted)} | set(types_of(gadget.emits))
        if Readouts in available or ismrmrd.Acquisition in available:
            available |= {Readouts, ismrmrd.Acquisition}
    made = {t for gadget in gadgets for t in types_of(gadget.emits)} & available
    if makes_images and not made & {ImageSeries, ismrmrd.Image}:
        raise RecipeError(
            f"recipe '{recipe}': expected images at the end, got {_names(made) or 'nothing'}; "
            f"add a reconstruction gadget"
        )


def types_of(accepts: type | UnionType) -> tuple[type, ...]:
    """The single types of a type or a union of types."""
    return get_args(accepts) or (accepts,)


def _names(types: set[type] | tuple[type, ...]) -> str:
    return ", ".join(sorted(t.__name__ for t in types))
