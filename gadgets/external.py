"""What a Gadgetron starts: `python -m gadgetron PORT gadgets.external recipe`."""

import struct
from importlib.metadata import entry_points
from typing import Any

ENTRY_POINT_GROUP = "reconstream.external"
"""Gadgets know nothing of recipes: who runs one announces itself here, under the name `recipe`."""

_ERROR_ID = 8


def recipe(connection: Any) -> None:
    """Run the recipe that the parent's configuration names, on whatever the parent sends.

    `connection` is the `gadgetron.external.Connection` to the parent.
    """
    announced = entry_points(group=ENTRY_POINT_GROUP, name="recipe")
    try:
        (entry,) = announced
        serve_parent = entry.load()
    except (ValueError, ImportError, AttributeError) as error:
        send_error(
            connection,
            f"entry point {ENTRY_POINT_GROUP}/recipe: expected one that can be loaded, got "
            f"{[entry.value for entry in announced]}: {error}; reinstall reconstream",
        )
        raise
    serve_parent(connection)


def send_error(connection: Any, text: str) -> None:
    """Tell the parent what went wrong: without this its client sees a normal end."""
    encoded = text.encode()
    connection.socket.write(struct.pack("<HQ", _ERROR_ID, len(encoded)) + encoded)
