"""What a journal says beside its data: the recipe and parameters that the client asked for."""

import json
from pathlib import Path

import msgspec

from pipelines.chunks import chunks_of
from pipelines.messages import ConfigFile, ConfigText, Header, Query, Text
from pipelines.recipe import Recipe, recipe_by_name, recipe_from_text
from pipelines.stream import MessageReader
from recon_core.errors import InputError, StreamError


def journalled_recipe(journal: Path) -> Recipe:
    """The recipe of the session that was journalled, with the parameters sent before its data.

    Raises InputError when the journal names none, RecipeError when the recipe is unknown here.
    """
    recipe: Recipe | None = None
    with journal.open("rb", buffering=0) as file:
        for message in MessageReader(chunks_of(file.readinto)):
            match message:
                case ConfigFile(name):
                    recipe = recipe_by_name(name)
                case ConfigText(text):
                    recipe = recipe_from_text(text, f"in {journal}")
                case Text(text) if recipe:
                    recipe = with_text_parameters(recipe, text)
                case Header() | Query() | Text():
                    continue
                case _:
                    break
    if recipe is None:
        raise InputError(f"{journal}: expected a recipe before the data, got none; name one with --recipe")
    return recipe


def with_text_parameters(recipe: Recipe, text: str) -> Recipe:
    """The recipe with the parameters of a JSON text, as FIRE clients send it; other text changes nothing.

    A `config` or `customconfig` among them names another recipe; parameters of no gadget, as a scanner's
    generic form has them, are named in the recipe's notes. Raises StreamError for JSON that is not
    ``{"parameters": {"Gadget.name": value}}``, RecipeError for a gadget that the recipe has not, or a recipe
    that is not known.
    """
    if not text.lstrip().startswith("{"):
        return recipe
    try:
        parameters = json.loads(text).get("parameters", {})
        overrides = {str(name): value for name, value in parameters.items()}
    except (ValueError, RecursionError, AttributeError) as error:
        raise StreamError(
            f'TEXT before the data: expected JSON {{"parameters": {{"Gadget.name": value}}}}, '
            f"got {text[:80]!r} ({error}); correct it"
        ) from error
    for name in ("config", "customconfig"):
        if chosen := overrides.pop(name, ""):
            recipe = recipe_by_name(str(chosen))
    if unused := [name for name in overrides if "." not in name]:
        note = f"parameters of no gadget, without effect: {', '.join(unused)}"
        recipe = msgspec.structs.replace(recipe, notes=(*recipe.notes, note))
    return recipe.with_parameters({name: value for name, value in overrides.items() if "." in name})
