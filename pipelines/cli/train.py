"""`reconstream train`: a training recipe and folders of data to a model package."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import AsJson
from pipelines.cli.training_options import FULL_PRECISION, Devices, Precision, Resume, Workers


def train(
    recipe: Annotated[str, typer.Argument(help="Name of a shipped training recipe, or a TOML file.")],
    out: Annotated[Path, typer.Option("--out", help="The model package to write, a folder.")],
    data: Annotated[
        list[Path], typer.Option("--data", help="Folder with the files that the recipe names; repeatable.")
    ],
    resume: Resume = False,
    precision: Precision = FULL_PRECISION,
    devices: Devices = 0,
    workers: Workers = 0,
    as_json: AsJson = False,
) -> None:
    """Train a network as a recipe says.

    Prints how good it is on held-out slices, beside the classical fallback, and where the package lies.
    Checkpoints and TensorBoard's records lie beside it, in OUT.training.
    """
    from pipelines.cli.training import chosen_run, print_trained, require_lightning

    require_lightning("train")
    from pipelines.training_sources import raw_slices
    from recon_core.training.recipe import recipe_from_toml, shipped_training_recipes, text_of_recipe
    from recon_core.training.run import require_new
    from recon_core.training.sources import read_slices
    from recon_core.training.train import train

    text = text_of_recipe(recipe)
    origin = recipe if recipe in shipped_training_recipes() else text
    run = chosen_run(out, text, origin, resume, precision, devices, workers)
    require_new(run)  # before hours of reading
    read = recipe_from_toml(text, recipe)
    print_trained(train(read, read_slices(read.sources, data, raw_slices), run), "fallback", as_json)
