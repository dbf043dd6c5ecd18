"""`reconstream gadgets`: list and show gadgets."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from gadgets.gadget import Gadget

app = typer.Typer(help="List and show gadgets.", no_args_is_help=True)


@app.command("list")
def list_() -> None:
    """List every gadget a recipe may use, also those of installed packages."""
    from gadgets.registry import known_gadgets

    known = known_gadgets()
    width = max(map(len, known))
    for name in sorted(known):
        print(f"{name:{width}}  {_about(known[name]).splitlines()[0]}")


@app.command()
def show(gadget: Annotated[str, typer.Argument(help="Name of the gadget, as in `gadgets list`.")]) -> None:
    """Print what a gadget does, what it takes and gives, and its parameters."""
    from gadgets.gadget import parameters
    from gadgets.registry import known_gadgets
    from pipelines.recipe import types_of
    from recon_core.errors import RecipeError

    known = known_gadgets()
    if gadget not in known:
        raise RecipeError(f"gadget '{gadget}': expected one of {', '.join(sorted(known))}; correct the name")
    cls = known[gadget]
    print(f"{gadget}: {_about(cls)}\n")
    print("takes  " + ", ".join(t.__name__ for t in types_of(cls.accepts)))
    print("gives  " + ", ".join(t.__name__ for t in types_of(cls.emits)))
    for parameter in parameters(cls):
        print(f"\n{parameter.name}: {parameter.type} = {parameter.default!r}")
        print("    " + parameter.about.replace("\n", "\n    "))


def _about(cls: "type[Gadget]") -> str:
    import inspect

    return inspect.getdoc(cls) or ""
