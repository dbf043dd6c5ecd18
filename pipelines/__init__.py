"""Recipes, and the ways to run them: runner, server, client, replay, command line, and `reconstruct`."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipelines.reconstruction import reconstruct as reconstruct

__all__ = ["reconstruct"]


def __getattr__(name: str) -> Any:
    # Importing torch takes a second, which `reconstream --help` need not spend.
    if name == "reconstruct":
        from pipelines.reconstruction import reconstruct

        return reconstruct
    raise AttributeError(f"module 'pipelines' has no attribute '{name}'")
