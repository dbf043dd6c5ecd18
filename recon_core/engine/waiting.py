"""Slices that wait for the device, inline before replay, and how long one waits for companions."""

from __future__ import annotations

import threading
from bisect import insort
from collections.abc import Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import IntEnum
from time import monotonic

from recon_core.engine.inference import Inference, Pass
from recon_core.engine.slices import Slices

ACTIVE_S = 1.0
"""A session that asked within this time is expected to ask again."""


class Priority(IntEnum):
    """Who goes first."""

    INLINE = 0
    """A patient is on the table."""
    REPLAY = 1


@dataclass(order=True)
class Waiting:
    """One slice, and where its image is awaited."""

    priority: Priority
    number: int
    """Earlier ones first."""
    slice: Slices = field(compare=False)
    key: tuple[object, ...] = field(compare=False)
    """Equal for slices that one pass can take."""
    anatomy: str | None = field(compare=False)
    session: int = field(compare=False)
    inference: Inference = field(compare=False)
    result: Future[Pass] = field(compare=False)
    arrived: float = field(compare=False, default_factory=monotonic)


class Closed(Exception):  # noqa: N818 - the end of a line, never an error in itself
    """No one serves this line any more."""


class WaitingLine:
    """What sessions put in and one worker takes out. Each session waits for its images, so it stays short."""

    def __init__(self, latency_budget_s: float) -> None:
        self._latency_budget_s = latency_budget_s
        self._line: list[Waiting] = []
        self._changed = threading.Condition()
        self._asked: dict[int, tuple[tuple[object, ...], float]] = {}
        self._reason: str | None = None

    def put(self, slices: Iterable[Waiting]) -> None:
        """Raises Closed, with the reason, after `close`."""
        with self._changed:
            if self._reason is not None:
                raise Closed(self._reason)
            for waiting in slices:
                insort(self._line, waiting)
                self._asked[waiting.session] = (waiting.key, waiting.arrived)
            self._changed.notify_all()

    def take(self, batch_size: int) -> list[Waiting]:
        """The first in line and up to `batch_size - 1` of the same key, in order.

        They may have waited for companions while another session has lately asked for the same key, but no
        longer than the latency budget. Raises Closed after `close`.
        """
        with self._changed:
            while True:
                if self._reason is not None:
                    raise Closed(self._reason)
                self._line = [w for w in self._line if not w.result.done()]
                batch = self._first_alike(batch_size)
                if not batch:
                    self._changed.wait()
                    continue
                left_s = batch[0].arrived + self._latency_budget_s - monotonic()
                if len(batch) == batch_size or left_s <= 0 or not self._expects_others(batch[0]):
                    self._line = [w for w in self._line if w not in batch]
                    return batch
                self._changed.wait(left_s)

    def close(self, reason: str) -> list[Waiting]:
        """End the line; what still waited comes back."""
        with self._changed:
            left, self._line = self._line, []
            self._reason = self._reason or reason
            self._changed.notify_all()
            return left

    def _first_alike(self, batch_size: int) -> list[Waiting]:
        return [w for w in self._line if w.key == self._line[0].key][:batch_size]

    def _expects_others(self, first: Waiting) -> bool:
        horizon = monotonic() - ACTIVE_S
        self._asked = {s: asked for s, asked in self._asked.items() if asked[1] > horizon}
        return any(s != first.session and key == first.key for s, (key, _) in self._asked.items())
