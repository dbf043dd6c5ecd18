"""`reconstream models`: list, show, verify, add and remove model packages."""

import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="List, show, verify, add and remove trained networks.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="Name of the model, as in `models list`.")]


@app.command("list")
def list_() -> None:
    """List the models there are, those that came with the package and those added."""
    from recon_core.engine.store import ModelStore
    from recon_core.errors import ModelError

    store = ModelStore.default()
    for name, folder in store.folders().items():
        origin = "shipped" if folder.parent == store.shipped else "added"
        try:
            package = store.load(name)
        except ModelError as error:
            print(f"{name}  {origin}, unusable: {error}")
        else:
            print(f"{package.id}  {origin}, {package.manifest.terms}  {package.manifest.about}")


@app.command()
def show(model: Name) -> None:
    """Print a model's manifest: what it is, what it was trained on, how good it is, its licence."""
    from recon_core.engine.package import MANIFEST
    from recon_core.engine.store import ModelStore

    package = ModelStore.default().load(model)
    print(f"# {package.folder}\n# hash {package.hash}")
    print((package.folder / MANIFEST).read_text(), end="")


@app.command()
def verify(
    models: Annotated[
        list[str] | None, typer.Argument(help="Names or folders; all there are unless told.")
    ] = None,
) -> None:
    """Check every byte, every field, and that the weights fit the network."""
    from recon_core.engine.package import load_package
    from recon_core.engine.store import ModelStore
    from recon_core.errors import ModelError

    store = ModelStore.default()
    is_good = True
    for model in models or store.folders():
        try:
            is_folder = model not in store.folders() and Path(model).is_dir()
            package = load_package(Path(model)) if is_folder else store.load(model)
        except ModelError as error:
            print(f"reconstream: {error}", file=sys.stderr)
            is_good = False
        else:
            print(f"{package.id}: good, hash {package.hash}")
    if not is_good:
        raise typer.Exit(1)


@app.command()
def add(folder: Annotated[Path, typer.Argument(help="Folder of a model package.")]) -> None:
    """Verify a package and copy it to where models are found."""
    from recon_core.engine.store import ModelStore

    package = ModelStore.default().add(folder)
    print(f"{package.id}: added to {package.folder}")


@app.command()
def remove(model: Name) -> None:
    """Delete a model that was added."""
    from recon_core.engine.store import ModelStore

    ModelStore.default().remove(model)
    print(f"{model}: removed")
