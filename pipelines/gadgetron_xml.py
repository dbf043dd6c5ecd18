"""A Gadgetron stream configuration, read as one of our recipes."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from xml.etree import ElementTree

from gadgets.records import CalibratedKSpace, ImageSeries, KSpace, Readouts
from gadgets.registry import known_gadgets
from pipelines.gadgetron_names import NO_EFFECT, STOCK_GADGETS, Amendment
from pipelines.recipe import Recipe, Step, types_of
from recon_core.errors import RecipeError

MAX_XML_CHARACTERS = 1 << 20
"""Larger than any configuration seen by a factor of ten."""

# They spread the work of the gadgets inside them; the images are the same without.
_SPREADING = frozenset(["parallelprocess", "purestream", "distributed", "puredistributed", "stream"])
_NOT_A_STEP = frozenset(["version", "reader", "readers", "writer", "writers", "distributor"])

_NOISE_SUMMARY = "NoiseSummaryGadget"


@dataclass(frozen=True)
class _StockGadget:
    """One `<gadget>`: what it is called in the file, its class, its properties."""

    name: str
    classname: str
    properties: dict[str, str]

    def __str__(self) -> str:
        return self.classname if self.name in ("", self.classname) else f"{self.name} ({self.classname})"


def recipe_from_xml(text: str, where: str) -> Recipe:
    """The recipe that does what a Gadgetron stream configuration, of either dialect, would do.

    Gadget classes may be ours (properties are then parameters) or stock Gadgetron ones that have a
    counterpart. The steps are put in the order in which our gadgets take them: whitening, then
    everything on k-space, then reconstruction, then images. What has no counterpart is named in the
    recipe's `notes`. `where` names the text in errors, and the recipe if it is the path of a file.

    Raises RecipeError for XML that is no such configuration, has a document type or entities, branches,
    starts external processes, or names a class without a counterpart.
    """
    stock = list(_gadgets(_root(text, where), where))
    stock = _dereferenced(stock, where)
    steps: list[Step] = []
    notes: list[str] = []
    for number, gadget in enumerate(stock, 1):
        for result in _translated(gadget, f"recipe {where}, gadget {number}"):
            match result:
                case str():
                    notes.append(f"{gadget}: {result}")
                case Amendment():
                    steps = _amended(steps, result)
                case Step():
                    steps.append(result)
    if _scales_complex(steps):
        steps = [step for step in steps if step.use != "ScaleIntensity"]
        notes.append("complex images are not scaled")
    notes += _without_effect(stock)
    recipe = Recipe(
        name=PurePath(where).stem if where.endswith(".xml") else "gadgetron",
        about="Gadgetron's " + ", ".join(gadget.classname for gadget in stock),
        steps=tuple(_in_working_order(steps)),
        makes_images={step.use for step in steps} != {"NoiseAdjust"},  # Gadgetron's dependency scans
        notes=tuple(notes),
    )
    _ = recipe.gadgets
    return recipe


def noise_asked_for(text: str) -> str | None:
    """The measurement whose noise a configuration asks about, as Gadgetron's clients do; None if it does not.

    Raises RecipeError as `recipe_from_xml`.
    """
    if _NOISE_SUMMARY not in text:
        return None
    gadgets = list(_gadgets(_root(text, "in CONFIG_TEXT"), "in CONFIG_TEXT"))
    if [gadget.classname for gadget in gadgets] != [_NOISE_SUMMARY]:
        return None
    return gadgets[0].properties.get("noise_file", "").removeprefix("GadgetronNoiseCovarianceMatrix_")


class _Builder(ElementTree.TreeBuilder):
    """Refuses document types: they are the only place where XML can declare entities."""

    def doctype(self, name: str, pubid: str | None, system: str | None) -> None:
        raise RecipeError(f"<!DOCTYPE {name[:80]}>")


def _root(text: str, where: str) -> ElementTree.Element:
    if len(text) > MAX_XML_CHARACTERS:
        raise RecipeError(
            f"recipe {where}: expected at most {MAX_XML_CHARACTERS} characters of XML, got {len(text)}; "
            "send only the stream configuration"
        )
    try:
        root = ElementTree.fromstring(text.lstrip("\ufeff \t\r\n"), ElementTree.XMLParser(target=_Builder()))
    except RecipeError as error:
        raise RecipeError(
            f"recipe {where}: expected XML without a document type, got {error}; remove it"
        ) from None
    except ElementTree.ParseError as error:
        raise RecipeError(f"recipe {where}: expected well-formed XML, got: {error}; correct it") from error
    version = _text(root, "version")
    if _tag(root) == "gadgetronStreamConfiguration" or (_tag(root), version) == ("configuration", "2"):
        return root
    raise RecipeError(
        f"recipe {where}: expected <gadgetronStreamConfiguration>, or <configuration> with "
        f"<version>2</version>, got <{_tag(root)[:80]}> version '{version[:80]}'; "
        "send a Gadgetron stream configuration"
    )


def _gadgets(parent: ElementTree.Element, where: str) -> Iterator[_StockGadget]:
    """The `<gadget>` elements of one unbranched chain, in document order."""
    for element in parent:
        tag = _tag(element)
        if tag == "gadget":
            properties = dict(_property(child, where) for child in element if _tag(child) == "property")
            yield _StockGadget(_text(element, "name"), _text(element, "classname"), properties)
        elif tag in _SPREADING:
            yield from _gadgets(element, where)
        elif tag not in _NOT_A_STEP:
            raise RecipeError(
                f"recipe {where}: expected one chain of <gadget> elements, got <{tag[:80]}>; "
                f"take it out of the configuration"
            )


def _property(element: ElementTree.Element, where: str) -> tuple[str, str]:
    """Version 2 writes attributes, the old dialect elements; version 2 allows both."""
    if "name" in element.attrib and "value" in element.attrib:
        return element.attrib["name"].strip(), element.attrib["value"].strip()
    name = _text(element, "name")
    if not name:
        text = ElementTree.tostring(element, "unicode")
        raise RecipeError(
            f"recipe {where}: expected a <property> with name and value, got {text[:200]}; correct it"
        )
    return name, _text(element, "value")


def _tag(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2]


def _text(parent: ElementTree.Element, tag: str) -> str:
    """The text of the first child of this name, whatever its namespace; empty when there is none."""
    return next(((child.text or "").strip() for child in parent if _tag(child) == tag), "")


def _dereferenced(stock: list[_StockGadget], where: str) -> list[_StockGadget]:
    """`property@gadget` as a value stands for that property of the gadget of that name."""
    declared = {f"{name}@{g.name}": value for g in stock for name, value in g.properties.items()}

    def value_of(value: str) -> str:
        seen = {value}
        while "@" in value:
            if value not in declared or declared[value] in seen:
                raise RecipeError(
                    f"recipe {where}: expected a reference property@gadget to a property given here, "
                    f"got '{value[:80]}'; correct it"
                )
            value = declared[value]
            seen.add(value)
        return value

    return [
        _StockGadget(g.name, g.classname, {name: value_of(value) for name, value in g.properties.items()})
        for g in stock
    ]


def _translated(stock: _StockGadget, where: str) -> Iterator[Step | Amendment | str]:
    """Our steps for one of Gadgetron's, and notes on what is lost."""
    if stock.classname in known_gadgets():
        yield Step(stock.classname, dict(stock.properties))
        return
    if stock.classname not in STOCK_GADGETS:
        raise RecipeError(
            f"{where}: expected a gadget of ours ({', '.join(sorted(known_gadgets()))}) or a "
            f"Gadgetron class with a counterpart ({', '.join(sorted(STOCK_GADGETS))}), "
            f"got '{stock.classname[:80]}'; take it out of the configuration"
        )
    left = {name: value for name, value in stock.properties.items() if value and name not in NO_EFFECT}
    try:
        yield from STOCK_GADGETS[stock.classname](left)
    except ValueError as error:
        raise RecipeError(f"{where} ({stock}): expected a number, got: {error}; correct it") from error
    if left:
        listed = ", ".join(f"{name}={value[:80]}" for name, value in left.items())
        yield f"no counterpart for {listed}"


def _amended(steps: list[Step], amendment: Amendment) -> list[Step]:
    for number in reversed(range(len(steps))):
        if steps[number].use == amendment.use:
            amended = Step(amendment.use, {**steps[number].parameters, **amendment.parameters})
            return [*steps[:number], amended, *steps[number + 1 :]]
    if amendment.alone is None:
        return steps
    return [*steps, Step(amendment.use, {**amendment.alone, **amendment.parameters})]


def _without_effect(stock: Iterable[_StockGadget]) -> list[str]:
    found = {name for gadget in stock for name in gadget.properties.keys() & NO_EFFECT}
    return [f"{', '.join(sorted(found))}: without effect on images, ignored"] if found else []


def _scales_complex(steps: list[Step]) -> bool:
    is_real = any(step.use == "ImageType" or step.parameters.get("combine") == "rss" for step in steps)
    return not is_real and any(step.use == "ScaleIntensity" for step in steps)


def _in_working_order(steps: list[Step]) -> list[Step]:
    """Gadgetron crops and compresses single readouts, we whole k-spaces: sort by what the gadgets take.

    It scales complex images, we scale what is made of them.
    """

    def stage(step: Step) -> tuple[int, int]:
        gadget = known_gadgets()[step.use]
        return _depth(gadget.accepts), _depth(gadget.emits)

    ordered = sorted(steps, key=stage)
    uses = [step.use for step in ordered]
    behind = uses.index("ImageType") + 1 if "ImageType" in uses else 0
    early = [step for step in ordered[:behind] if step.use == "ScaleIntensity"]
    return [step for step in ordered[:behind] if step not in early] + early + ordered[behind:]


def _depth(types: Any) -> int:
    """How far along the chain the first of these types stands."""
    order: tuple[type, ...] = (Readouts, KSpace, CalibratedKSpace, ImageSeries)
    found = [order.index(t) for t in types_of(types) if t in order]
    return min(found, default=0)
