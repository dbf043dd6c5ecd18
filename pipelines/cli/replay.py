"""`reconstream replay`: journals to the images the server sent, or should have sent."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import DEFAULT_OUT, AsJson, Formats, OutDirectory, Settings, Studies


def replay(
    journals: Annotated[list[Path], typer.Argument(help="Journals that `reconstream serve --journal` kept.")],
    recipe: Annotated[
        str | None, typer.Option(help="Another recipe than the one the client asked for.")
    ] = None,
    out: OutDirectory = DEFAULT_OUT,
    settings: Settings = None,
    formats: Formats = "mrd",
    as_json: AsJson = False,
    studies: Studies = "off",
) -> None:
    """Reconstruct what the server received, with the recipe and parameters the client asked for.

    On the same device the images equal those sent at the time bit for bit.
    """
    from pipelines.cli.reconstructing import chosen_formats, chosen_recipe, reconstruct_files, with_settings
    from pipelines.recipe import Recipe
    from pipelines.replay import journalled_recipe

    def recipe_of(journal: Path) -> Recipe:
        return with_settings(chosen_recipe(recipe) if recipe else journalled_recipe(journal), settings)

    if not reconstruct_files(journals, recipe_of, out, chosen_formats(formats), as_json, studies):
        raise typer.Exit(1)
