"""`reconstream recipes`: list, show and check recipes."""

import json
import sys
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from pipelines.recipe import Recipe

app = typer.Typer(help="List, show and check recipes.", no_args_is_help=True)

NameOrFile = Annotated[str, typer.Argument(help="Name of a shipped recipe, or a TOML or XML file.")]


@app.command("list")
def list_() -> None:
    """List the recipes that come with the package."""
    from pipelines.recipe import recipe_by_name, shipped_recipes

    names = list(shipped_recipes())
    width = max(map(len, names))
    for name in names:
        print(f"{name:{width}}  {recipe_by_name(name).about}")


@app.command()
def show(recipe: NameOrFile) -> None:
    """Print a recipe as TOML, also one read from a Gadgetron XML configuration."""
    from pipelines.cli.reconstructing import chosen_recipe
    from pipelines.recipe import shipped_recipes

    print(shipped_recipes().get(recipe) or _toml(chosen_recipe(recipe)), end="")


@app.command()
def check(
    recipes: Annotated[list[str], typer.Argument(help="Names of shipped recipes, or TOML or XML files.")],
) -> None:
    """Check names, parameters and that each gadget can take what the ones before it give."""
    from pipelines.cli.reconstructing import chosen_recipe
    from recon_core.errors import RecipeError

    is_good = True
    for name in recipes:
        try:
            recipe = chosen_recipe(name)
            _ = recipe.gadgets
        except RecipeError as error:
            where = "" if name in str(error) else f"{name}: "
            print(f"reconstream: {where}{error}", file=sys.stderr)
            is_good = False
            continue
        for note in recipe.notes:
            print(f"{name}: note: {note}")
        print(f"{name}: good, {len(recipe.steps)} gadgets: {' → '.join(s.use for s in recipe.steps)}")
    if not is_good:
        raise typer.Exit(1)


def _toml(recipe: "Recipe") -> str:
    """The recipe as `recipe_from_toml` reads it; JSON's strings, numbers and arrays are TOML's."""
    lines = [f"# {note}" for note in recipe.notes]
    lines += [f"name = {json.dumps(recipe.name)}", f"about = {json.dumps(recipe.about)}"]
    for step in recipe.steps:
        lines += ["", "[[gadget]]", f"use = {json.dumps(step.use)}"]
        if step.parameters:
            pairs = (f"{name} = {json.dumps(value)}" for name, value in step.parameters.items())
            lines.append(f"with = {{ {', '.join(pairs)} }}")
    return "\n".join(lines) + "\n"
