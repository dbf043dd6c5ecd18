"""Bytes as they arrive, in large buffers that a parser can read without copying them again."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

HEADROOM = 1 << 20
"""Free bytes before the first byte of a buffer: room for the head of a message that the last buffer cut."""
CAPACITY = 4 << 20
_LEAST_ROOM = 128 << 10


class Chunk(NamedTuple):
    """`buffer[start:end]` is new. Successive chunks may continue in the same buffer.

    An empty one says that time has passed without a byte.
    """

    buffer: memoryview
    start: int
    end: int

    @property
    def bytes(self) -> memoryview:
        """The new bytes."""
        return self.buffer[self.start : self.end]


def chunks_of(read_into: Callable[[memoryview], int | None]) -> Iterator[Chunk]:
    """What `read_into` (a socket's `recv_into`, a file's `readinto`) delivers, until it returns 0."""
    buffer, filled = _new_buffer(), HEADROOM
    while n_read := read_into(buffer[filled:]):
        yield Chunk(buffer, filled, filled + n_read)
        filled += n_read
        if len(buffer) - filled < _LEAST_ROOM:
            buffer, filled = _new_buffer(), HEADROOM


def _new_buffer() -> memoryview:
    return np.empty(HEADROOM + CAPACITY, np.uint8).data
