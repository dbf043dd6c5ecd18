"""Runs a recipe's gadgets over a stream: chained in tests, each in its own thread when serving."""

import contextvars
import os
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import Any, NamedTuple

import ismrmrd
import torch

from gadgets.gadget import Context, Gadget
from gadgets.records import Readouts
from pipelines.recipe import Recipe, types_of
from recon_core.errors import GadgetError, ReconstreamError

QUEUE_SIZE = 2
"""Items (blocks of readouts, k-spaces, images) that may wait before each gadget: backpressure beyond that."""


def run(recipe: Recipe, items: Iterable[Any], context: Context) -> Iterator[Any]:
    """Run the gadgets in the caller's thread, pulling items through. Errors as `run_threaded`."""
    for gadget in recipe.gadgets:
        items = _chained(recipe.name, gadget, items, context)
    return iter(items)


def run_threaded(
    recipe: Recipe, items: Iterable[Any], context: Context, *, is_live: bool = True
) -> Iterator[Any]:
    """Run every gadget in its own thread behind a bounded queue, yielding results as they come.

    Bypassed items overtake no one and wait for no one. A failure, in a gadget or in `items`, is raised here
    after the results of all that came before it: a gadget's as GadgetError with recipe, gadget and scan
    counter. Then, as when the generator is closed early, all threads end. Of a live source the one that is
    waiting for the next of `items` is let be, and ends when the wait does; reading a file is waited for.
    """
    line = _ProductionLine(recipe, context, is_live)
    try:
        yield from line.results(items)
    finally:
        line.stop()


class _Progress:
    """How far a gadget has come in the scan, for its error messages.

    Of a block of readouts the first counts, since where it ends is chance: the same scan, cut otherwise, is
    to fail in the same words.
    """

    def __init__(self) -> None:
        self.scan_counter: int | None = None
        self.where = "before any readout"
        self._last: int | None = None

    def note(self, item: Any) -> None:
        at = "at"
        if isinstance(item, Readouts):
            self.scan_counter, self._last = (int(item.headers["scan_counter"][i]) for i in (0, -1))
            at = "at or after"
        elif isinstance(item, ismrmrd.Acquisition):
            self.scan_counter = self._last = int(item.scan_counter)
        elif (header := getattr(item, "header", None)) is not None:
            self.scan_counter = self._last = int(header["scan_counter"])
        if self.scan_counter is not None:
            self.where = f"{at} scan counter {self.scan_counter}"

    def end(self) -> None:
        if self._last is not None:
            self.scan_counter, self.where = self._last, f"at the end, after scan counter {self._last}"


def _gadget_error(recipe: str, gadget: str, progress: _Progress, reason: str) -> GadgetError:
    """Where the reason names its readout itself, that is the place, however the stream was cut."""
    if named := re.search(r"\bscan counter (\d+)", reason):
        return GadgetError(recipe, gadget, int(named[1]), "", reason)
    return GadgetError(recipe, gadget, progress.scan_counter, progress.where, reason)


def _guarded(recipe: str, gadget: Gadget, items: Iterator[Any], context: Context) -> Iterator[Any]:
    """The gadget's output; any failure but those that came from upstream leaves as GadgetError."""
    progress = _Progress()
    upstream: list[BaseException] = []

    def noted() -> Iterator[Any]:
        try:
            for item in items:
                progress.note(item)
                yield item
            progress.end()
        except BaseException as error:
            upstream.append(error)
            raise

    try:
        yield from gadget(noted(), context)
    except Exception as error:
        if upstream:
            raise
        name, reason = type(gadget).__name__, str(error)
        if not isinstance(error, ReconstreamError):
            context.logger.exception("%s failed", name)
            reason = f"{type(error).__name__}: {error}"
        raise _gadget_error(recipe, name, progress, reason) from error
    for _ in items:  # a gadget that ends early must not hold up, or lose, what is not its own
        pass


def _accepted(gadget: Gadget, items: Iterable[Any], bypass: Callable[[Any], None]) -> Iterator[Any]:
    """The items a gadget accepts, in its own currency; the others go to `bypass` at once."""
    accepts = types_of(gadget.accepts)
    for item in items:
        if isinstance(item, accepts):
            yield item
        elif isinstance(item, Readouts) and ismrmrd.Acquisition in accepts:
            yield from item.acquisitions()
        elif isinstance(item, ismrmrd.Acquisition) and Readouts in accepts:
            yield from Readouts.from_acquisitions([item])
        else:
            bypass(item)


def _chained(recipe: str, gadget: Gadget, items: Iterable[Any], context: Context) -> Iterator[Any]:
    passed: deque[Any] = deque()
    try:
        for result in _guarded(recipe, gadget, _accepted(gadget, items, passed.append), context):
            while passed:
                yield passed.popleft()
            yield result
    except Exception:
        yield from passed
        raise
    yield from passed


_END = object()


class _Failure(NamedTuple):
    """Travels down the line behind all that was made before it."""

    error: BaseException


class _Stopped(Exception):  # noqa: N818 - a signal between the threads of one line, never an error
    """The consumer has left."""


class _Pipe:
    """A bounded queue with one thread at each end, both released when the line stops."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._changed = threading.Condition()
        self._stopped = False

    def put(self, item: Any) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or len(self._items) < QUEUE_SIZE)
            if self._stopped:
                raise _Stopped
            self._items.append(item)
            self._changed.notify()

    def get(self) -> Any:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or self._items)
            if self._stopped:
                raise _Stopped
            self._changed.notify()
            return self._items.popleft()

    def stop(self) -> None:
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def __iter__(self) -> Iterator[Any]:
        while (item := self.get()) is not _END:
            if isinstance(item, _Failure):
                raise item.error
            yield item


class _Turn:
    """A gadget's right to compute: held from an item's arrival to a result or the wish for the next item."""

    def __init__(self, turns: threading.Semaphore) -> None:
        self._turns, self._is_held = turns, False

    def held_between(self, items: Iterator[Any]) -> Iterator[Any]:
        """`items`, waited for without the turn."""
        while True:
            self._give_up()
            item = next(items, _END)
            self._take()
            if item is _END:
                return
            yield item

    def given_up_for(self, results: Iterator[Any]) -> Iterator[Any]:
        """`results`, handed on without the turn."""
        try:
            for result in results:
                self._give_up()
                yield result
                self._take()
        finally:
            self._give_up()

    def _take(self) -> None:
        self._turns.acquire()
        self._is_held = True

    def _give_up(self) -> None:
        if self._is_held:
            self._is_held = False
            self._turns.release()


class _ProductionLine:
    """The threads of one scan: a source, then the gadgets, with a pipe behind each."""

    def __init__(self, recipe: Recipe, context: Context, is_live: bool) -> None:
        # As many gadgets of a scan compute at once as their threads have cores; more would only get in each
        # other's way, and take nearly twice the time.
        self._turns = threading.Semaphore(max(1, (os.cpu_count() or 1) // torch.get_num_threads()))
        self._recipe, self._context, self._is_live = recipe, context, is_live
        self._pipes: list[_Pipe] = []
        self._to_join: list[threading.Thread] = []

    def results(self, items: Iterable[Any]) -> Iterator[Any]:
        pipe = self._pipe()
        source_thread = self._start("source", lambda _bypass: iter(items), pipe)
        if not self._is_live:  # h5py holds a lock while it reads: a process that ended then would hang
            self._to_join.append(source_thread)
        for gadget in self._recipe.gadgets:
            source, pipe = pipe, self._pipe()
            work = partial(self._work, gadget, source)
            self._to_join.append(self._start(type(gadget).__name__, work, pipe))
        yield from pipe

    def stop(self) -> None:
        """End the gadgets, and the source unless it is live: then it may be waiting for its peer."""
        for pipe in self._pipes:
            pipe.stop()
        for thread in self._to_join:
            thread.join()

    def _pipe(self) -> _Pipe:
        self._pipes.append(_Pipe())
        return self._pipes[-1]

    def _work(self, gadget: Gadget, source: _Pipe, bypass: Callable[[Any], None]) -> Iterator[Any]:
        turn = _Turn(self._turns)
        items = turn.held_between(_accepted(gadget, source, bypass))
        return turn.given_up_for(_guarded(self._recipe.name, gadget, items, self._context))

    def _start(self, name: str, work: Callable[..., Iterator[Any]], pipe: _Pipe) -> threading.Thread:
        target, context = partial(self._fill, pipe, work), contextvars.copy_context()
        thread = threading.Thread(target=context.run, args=(target,), name=name, daemon=True)
        thread.start()
        return thread

    @staticmethod
    def _fill(pipe: _Pipe, work: Callable[..., Iterator[Any]]) -> None:
        """Put what `work` makes, and what it lets pass, into `pipe`, then the end or the failure."""
        with suppress(_Stopped):
            try:
                for result in work(pipe.put):
                    pipe.put(result)
                pipe.put(_END)
            except _Stopped:
                raise
            except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
                pipe.put(_Failure(error))
