"""The phases of a heartbeat, moving."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

CYCLE_MS = 1000
"""What one heartbeat takes on screen."""
SHORTEST_MS = 20
"""That viewers show a frame of a GIF for."""


def write_cine(phases: Sequence["Image"], path: Path) -> None:
    """An endless GIF of 8-bit pictures, whose greys it keeps exactly."""
    first, *others = phases
    duration_ms = max(SHORTEST_MS, round(CYCLE_MS / len(phases)))
    first.save(path, format="GIF", save_all=True, append_images=others, duration=duration_ms, loop=0)
