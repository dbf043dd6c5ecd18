"""What a Gadgetron starts: `python -m gadgetron PORT gadgets.external recipe`."""

import socket
import struct
from contextlib import suppress
from importlib.metadata import entry_points
from typing import Any

ENTRY_POINT_GROUP = "reconstream.external"
"""Gadgets know nothing of recipes: who runs one announces itself here, under the name `recipe`."""

_ERROR_ID = 8
_QUIET_S = 1.0


def recipe(connection: Any) -> None:
    """Run the recipe that the parent's configuration names, on whatever the parent sends.

    `connection` is the `gadgetron.external.Connection` to the parent.
    """
    announced = entry_points(group=ENTRY_POINT_GROUP, name="recipe")
    try:
        (entry,) = announced
        serve_parent = entry.load()
    except (ValueError, ImportError, AttributeError) as error:
        reason = (
            f"entry point {ENTRY_POINT_GROUP}/recipe: expected one that can be loaded, got "
            f"{[entry.value for entry in announced]}: {error}; reinstall reconstream"
        )
        connection.socket.write(error_message(reason))
        _receive_until_quiet(connection.socket.socket)
        raise
    serve_parent(connection)


def error_message(text: str) -> bytes:
    """What tells the parent that something went wrong: without it its client sees a normal end."""
    encoded = text.encode()
    return struct.pack("<HQ", _ERROR_ID, len(encoded)) + encoded


def _receive_until_quiet(wire: socket.socket) -> None:
    """A connection closed with unread data is reset, and the error lost before the parent has read it."""
    wire.settimeout(_QUIET_S)
    with suppress(OSError):
        while wire.recv(1 << 16):
            pass
