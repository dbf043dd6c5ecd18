"""Recipes: data only, checked before anything runs, and closed to names from the wire."""

import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import ismrmrd
import pytest

from gadgets.gadget import Context, Gadget
from gadgets.records import ImageSeries, KSpace, Readouts
from pipelines import recipe as recipe_module
from pipelines.recipe import (
    Recipe,
    Step,
    recipe_by_name,
    recipe_from_file,
    recipe_from_text,
    recipe_from_toml,
    shipped_recipes,
)
from recon_core.errors import RecipeError


class Grid(Gadget, frozen=True):
    """Readouts to k-space."""

    accepts = Readouts
    emits = KSpace

    def __call__(self, items: Iterable[Any], context: Context) -> Iterator[Any]:
        yield from items


class Transform(Gadget, frozen=True):
    """K-space to images."""

    accepts = KSpace
    emits = ImageSeries
    n_coils: int = 8
    method: Literal["svd", "geometric"] = "svd"

    def __call__(self, items: Iterable[Any], context: Context) -> Iterator[Any]:
        yield from items


class Shown(Gadget, frozen=True):
    """Images to images."""

    accepts = ImageSeries
    emits = ImageSeries

    def __call__(self, items: Iterable[Any], context: Context) -> Iterator[Any]:
        yield from items


class Single(Gadget, frozen=True):
    """Single acquisitions, as other packages take them."""

    accepts = ismrmrd.Acquisition
    emits = ismrmrd.Acquisition

    def __call__(self, items: Iterable[Any], context: Context) -> Iterator[Any]:
        yield from items


@pytest.fixture
def tiny_gadgets(monkeypatch: pytest.MonkeyPatch) -> None:
    known = {cls.__name__: cls for cls in (Grid, Transform, Shown, Single)}
    monkeypatch.setattr(recipe_module, "known_gadgets", lambda: known)


def toml(*uses: str, name: str = "tiny") -> str:
    return f'name = "{name}"\nabout = "for a test"\n' + "".join(f"[[gadget]]\n{use}\n" for use in uses)


WHOLE = toml('use = "Grid"', 'use = "Transform"\nwith = { n_coils = 4 }', 'use = "Shown"')


def test_every_shipped_recipe_is_sound_and_called_as_its_file() -> None:
    assert shipped_recipes()
    for name in shipped_recipes():
        recipe = recipe_by_name(name)
        assert (recipe.name, bool(recipe.about)) == (name, True)


@pytest.mark.usefixtures("tiny_gadgets")
def test_a_recipe_builds_its_gadgets_with_their_parameters() -> None:
    assert recipe_from_toml(WHOLE, "here").gadgets == (Grid(), Transform(n_coils=4), Shown())


@pytest.mark.usefixtures("tiny_gadgets")
@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name =", "expected name, about and .* tables"),
        ('name = "a"', "recipe here: expected about, got none; .* is an example"),
        (WHOLE + 'colour = "red"', "recipe here: gadget 3: expected no keys but use, with, got 'colour';"),
        ('colour = "red"\n' + WHOLE, "recipe here: expected no keys but name, about, .*, got 'colour';"),
        ('name = "a"\nabout = "b"\ngadget = [1]', "recipe here: gadget 1: expected a table, got 1;"),
        ('name = "a"\nabout = "b"\ngadget = 1', "expected name, about and .* tables, got: .*array"),
        ("a = " + "[" * 100_000, "expected name, about and"),
        ("a = " + "9" * 5000, "expected name, about and"),
        (toml('use = "Gird"'), r"gadget 1: expected one of Grid, Shown, Single, Transform, got 'Gird'"),
        (toml('use = "os.system"'), r"gadget 1: expected one of .* got 'os.system'"),
        (
            toml('use = "Grid"', 'use = "Transform"\nwith = { coils = 4 }'),
            r"gadget 2 \(Transform\): expected parameters of n_coils, method, got 'coils'; .*gadgets show",
        ),
        (
            toml('use = "Grid"', 'use = "Transform"\nwith = { method = "x" }'),
            r"gadget 2 \(Transform\): expected method to be one of svd, geometric, got 'x'; ",
        ),
        (
            toml('use = "Grid"', 'use = "Transform"\nwith = { n_coils = "many" }'),
            r"gadget 2 \(Transform\): expected n_coils to be int, got 'many'; ",
        ),
        (
            toml('use = "Grid"\nwith = { x = 1 }'),
            r"gadget 1 \(Grid\): expected parameters of no name, got 'x'",
        ),
        (toml('use = "Transform"'), r"gadget 1 \(Transform\): expects KSpace, but .* only .*Readouts"),
        (
            toml('use = "Grid"', 'use = "Shown"'),
            r"gadget 2 \(Shown\): expects ImageSeries, but .* only .*KSpace",
        ),
        (toml('use = "Grid"'), "expected images at the end, got KSpace"),
        (toml(), "gadget"),
    ],
)
def test_a_recipe_that_cannot_run_is_refused_with_the_reason(text: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe_from_text(text, "here")


@pytest.mark.usefixtures("tiny_gadgets")
def test_readouts_and_acquisitions_stand_for_each_other() -> None:
    for uses in (("Single", "Grid", "Transform"), ("Single", "Single", "Grid", "Transform")):
        assert recipe_from_toml(toml(*(f'use = "{use}"' for use in uses)), "here").gadgets


@pytest.mark.usefixtures("tiny_gadgets")
def test_parameters_from_outside_replace_those_of_the_recipe() -> None:
    recipe = recipe_from_toml(WHOLE, "here")
    changed = recipe.with_parameters({"Transform.n_coils": "12", "Transform.method": "geometric"})
    assert changed.gadgets[1] == Transform(n_coils=12, method="geometric")
    assert recipe.gadgets[1] == Transform(n_coils=4)
    assert changed.hash != recipe.hash


@pytest.mark.usefixtures("tiny_gadgets")
@pytest.mark.parametrize("key", ["Sense.n_coils", "n_coils", "Transform", "Transform.", ""])
def test_a_parameter_of_no_gadget_is_refused_with_the_gadgets_there_are(key: str) -> None:
    with pytest.raises(RecipeError, match=r"expected Gadget.parameter .*\(Grid, Transform, Shown\)"):
        recipe_from_toml(WHOLE, "here").with_parameters({key: 1})


def test_auto_says_how_to_tune_what_it_picks() -> None:
    with pytest.raises(RecipeError, match="choose the recipe that uses the gadget by name to tune it"):
        recipe_by_name("auto").with_parameters({"Grappa.regularisation": 0.1})


@pytest.mark.usefixtures("tiny_gadgets")
def test_the_hash_is_that_of_what_is_done_not_of_what_it_is_called() -> None:
    steps = (Step("Transform", {"n_coils": 4, "method": "svd"}),)
    same = (Step("Transform", {"method": "svd", "n_coils": 4}),)
    other = (Step("Transform", {"method": "svd", "n_coils": 5}),)
    recipes = [Recipe(name=f"{i}", about="", steps=s) for i, s in enumerate((steps, same, other))]
    assert recipes[0].hash == recipes[1].hash != recipes[2].hash
    assert len(recipes[0].hash) == 64


@pytest.mark.parametrize(
    "name", ["cartesian_fft", "cartesian_fft.xml", "cartesian_fft.toml", " cartesian_fft "]
)
def test_an_ending_in_the_name_is_ignored(name: str) -> None:
    assert recipe_by_name(name).name == "cartesian_fft"


opened: list[str] | None = None
sys.addaudithook(
    lambda event, details: opened.append(str(details[0])) if opened is not None and event == "open" else None
)


@pytest.mark.parametrize("place", ["absolute", "../x", "recipes/../../x", "file://", "with NUL"])
def test_a_name_is_never_opened_as_a_path(
    place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "marked.toml").write_text(shipped_recipes()["cartesian_fft"])
    name = {
        "absolute": f"{tmp_path}/marked",
        "../x": f"../{tmp_path.name}/marked.toml",
        "recipes/../../x": f"recipes/../../{tmp_path.name}/marked",
        "file://": f"file://{tmp_path}/marked.toml",
        "with NUL": "marked.toml\0",
    }[place]
    monkeypatch.setattr(sys.modules[__name__], "opened", [])
    with pytest.raises(RecipeError, match=r"expected one of .*cartesian_fft"):
        recipe_by_name(name)
    assert opened  # the shipped ones were looked at
    assert not [path for path in opened if "marked" in path]


def test_a_recipe_file_that_cannot_be_read_is_an_error_in_words(tmp_path: Path) -> None:
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path / "none.toml", tmp_path, tmp_path / "binary.toml"):
        with pytest.raises(RecipeError, match="expected a text file"):
            recipe_from_file(path)
