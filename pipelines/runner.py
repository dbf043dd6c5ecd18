"""Runs a recipe's gadgets over a stream: chained in tests, each in its own thread when serving."""

import contextvars
import queue
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import ismrmrd

from gadgets.gadget import Context, Gadget
from gadgets.records import Readouts
from pipelines.recipe import Recipe, types_of
from recon_core.errors import GadgetError, ReconstreamError

QUEUE_SIZE = 8
"""Items (blocks of readouts, k-spaces, images) that may wait before each gadget: backpressure beyond that."""


def run(recipe: Recipe, items: Iterable[Any], context: Context) -> Iterator[Any]:
    """Run the gadgets in the caller's thread, pulling items through. Errors as `run_threaded`."""
    for gadget in recipe.gadgets:
        items = _chained(recipe.name, gadget, items, context)
    return iter(items)


def run_threaded(recipe: Recipe, items: Iterable[Any], context: Context) -> Iterator[Any]:
    """Run every gadget in its own thread behind a bounded queue, yielding results as they come.

    Bypassed items overtake no one and wait for no one. The first failure, in a gadget or in `items`, stops
    all threads and is raised here: a gadget's as GadgetError with recipe, gadget and scan counter. Closing
    the generator early stops the threads too.
    """
    line = _ProductionLine(recipe, context)
    try:
        yield from line.results(items)
    finally:
        line.stop()


class _ScanCounter:
    """The scan counter a gadget has come to, for its error messages."""

    def __init__(self) -> None:
        self.last: int | None = None

    def note(self, item: Any) -> None:
        if isinstance(item, Readouts):
            self.last = int(item.headers["scan_counter"][-1])
        elif isinstance(item, ismrmrd.Acquisition):
            self.last = int(item.scan_counter)
        elif (header := getattr(item, "header", None)) is not None:
            self.last = int(header["scan_counter"])


def _guarded(recipe: str, gadget: Gadget, items: Iterator[Any], context: Context) -> Iterator[Any]:
    """The gadget's output; any failure but those that came from upstream leaves as GadgetError."""
    counter = _ScanCounter()
    upstream: list[BaseException] = []

    def noted() -> Iterator[Any]:
        try:
            for item in items:
                counter.note(item)
                yield item
        except BaseException as error:
            upstream.append(error)
            raise

    try:
        yield from gadget(noted(), context)
    except Exception as error:
        if upstream:
            raise
        context.logger.debug("%s failed", type(gadget).__name__, exc_info=error)
        reason = error if isinstance(error, ReconstreamError) else f"{type(error).__name__}: {error}"
        raise GadgetError(recipe, type(gadget).__name__, counter.last, str(reason)) from error


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
    for result in _guarded(recipe, gadget, _accepted(gadget, items, passed.append), context):
        while passed:
            yield passed.popleft()
        yield result
    yield from passed


_END = object()


class _Stopped(Exception):  # noqa: N818 - a signal between the threads of one line, never an error
    """Another thread failed or the consumer left."""


class _Pipe:
    """A bounded queue whose waits end when the line stops."""

    def __init__(self, stopped: threading.Event) -> None:
        self._queue: queue.Queue[Any] = queue.Queue(QUEUE_SIZE)
        self._stopped = stopped

    def put(self, item: Any) -> None:
        while not self._stopped.is_set():
            try:
                return self._queue.put(item, timeout=0.1)
            except queue.Full:
                continue
        raise _Stopped

    def __iter__(self) -> Iterator[Any]:
        while not self._stopped.is_set():
            try:
                item = self._queue.get(timeout=0.1)
            except queue.Empty:
                continue
            if item is _END:
                return
            yield item
        raise _Stopped


class _ProductionLine:
    def __init__(self, recipe: Recipe, context: Context) -> None:
        self._recipe, self._context = recipe, context
        self._stopped = threading.Event()
        self._failure: BaseException | None = None
        self._failure_lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def results(self, items: Iterable[Any]) -> Iterator[Any]:
        pipe = _Pipe(self._stopped)
        self._start("source", self._feed, items, pipe)
        for gadget in self._recipe.gadgets:
            source, pipe = pipe, _Pipe(self._stopped)
            self._start(type(gadget).__name__, self._work, gadget, source, pipe)
        try:
            yield from pipe
        except _Stopped:
            self.stop()
            assert self._failure is not None
            raise self._failure from None

    def stop(self) -> None:
        self._stopped.set()
        for thread in self._threads:
            thread.join()

    def _start(self, name: str, target: Callable[..., None], *arguments: Any) -> None:
        context = contextvars.copy_context()
        thread = threading.Thread(
            target=context.run, args=(self._until_failure, target, *arguments), name=name, daemon=True
        )
        self._threads.append(thread)
        thread.start()

    def _until_failure(self, target: Callable[..., None], *arguments: Any) -> None:
        try:
            target(*arguments)
        except _Stopped:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the consumer, which raises it
            with self._failure_lock:
                self._failure = self._failure or error
            self._stopped.set()

    def _feed(self, items: Iterable[Any], pipe: _Pipe) -> None:
        for item in items:
            pipe.put(item)
        pipe.put(_END)

    def _work(self, gadget: Gadget, source: _Pipe, pipe: _Pipe) -> None:
        accepted = _accepted(gadget, source, pipe.put)
        for result in _guarded(self._recipe.name, gadget, accepted, self._context):
            pipe.put(result)
        pipe.put(_END)
