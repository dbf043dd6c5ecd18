"""Gadgets small enough to reason about, and recipes of them, for the tests of the runner."""

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar

import ismrmrd
import numpy as np

from gadgets.gadget import Context, Gadget
from gadgets.records import HEADER_DTYPE, ImageSeries, Readouts
from pipelines.recipe import Recipe, Step
from recon_core.errors import GadgetError, InputError

Run = Callable[[Recipe, Iterable[Any], Context], Iterator[Any]]
DEADLINE_S = 20.0
CONTEXT = Context(header=None)


class Number(Gadget, frozen=True):
    """Sets `user_int[0]` of every readout's header to ten times what it was plus `digit`."""

    accepts = Readouts
    emits = Readouts
    digit: int = 1

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        for readouts in items:
            readouts.headers["user_int"][:, 0] = 10 * readouts.headers["user_int"][:, 0] + self.digit
            yield readouts


class Pair(Gadget, frozen=True):
    """Emits its input two by two, the second first, and what is left at the end."""

    accepts = Readouts
    emits = Readouts

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        waiting: list[Readouts] = []
        for readouts in items:
            waiting.append(readouts)
            if len(waiting) == 2:
                yield from reversed(waiting)
                waiting = []
        yield from waiting


class Hold(Gadget, frozen=True):
    """Keeps every readout until `released` is set."""

    accepts = Readouts
    emits = Readouts
    released: ClassVar[threading.Event]

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        for readouts in items:
            assert self.released.wait(DEADLINE_S)
            yield readouts


class CountAtOnce(Gadget, frozen=True):
    """Counts how many of its kind are computing."""

    accepts = Readouts
    emits = Readouts
    most: ClassVar[int] = 0
    computing: ClassVar[list[object]] = []

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        for readouts in items:
            self.computing.append(self)
            time.sleep(0.0005)  # lets another thread run, were it allowed to
            CountAtOnce.most = max(CountAtOnce.most, len(self.computing))
            self.computing.pop()
            yield readouts


class FailAt(Gadget, frozen=True):
    """Fails on the block whose last readout has this scan counter; at the end for -1."""

    accepts = Readouts
    emits = Readouts
    scan_counter: int = 0
    expected: bool = True

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        for readouts in items:
            if readouts.headers["scan_counter"][-1] == self.scan_counter:
                raise InputError("coils: expected 8, got 7; check") if self.expected else KeyError("lost")
            yield readouts
        if self.scan_counter == -1:
            raise InputError("incomplete")


class FailOn(Gadget, frozen=True):
    """Fails on readout 5, and says so itself."""

    accepts = Readouts
    emits = Readouts

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        for readouts in items:
            if 5 in readouts.headers["scan_counter"]:
                raise InputError("FailOn: expected 4, got 5 at scan counter 5; check")
            yield readouts


class FirstOnly(Gadget, frozen=True):
    """Takes one readout and ends."""

    accepts = Readouts
    emits = Readouts

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        yield next(iter(items))


class OneByOne(Gadget, frozen=True):
    """Takes single acquisitions, as gadgets of other packages may."""

    accepts = ismrmrd.Acquisition
    emits = ismrmrd.Acquisition

    def __call__(self, items: Iterable[Any], context: Context) -> Iterator[Any]:
        yield from items


class Image(Gadget, frozen=True):
    """Never emits; makes a recipe complete."""

    accepts = ismrmrd.Image
    emits = ImageSeries

    def __call__(self, items: Iterable[Any], context: Context) -> Iterator[Any]:
        yield from items


GADGETS = {
    cls.__name__: cls for cls in (Number, Pair, Hold, CountAtOnce, FailAt, FailOn, FirstOnly, OneByOne, Image)
}


def recipe_of(*steps: Step) -> Recipe:
    return Recipe(name="tiny", about="for a test", steps=(*steps, Step("Image")))


def readout(scan_counter: int) -> Readouts:
    headers = np.zeros(1, HEADER_DTYPE)
    headers["scan_counter"] = scan_counter
    return Readouts(
        headers=headers,
        data=np.full((1, 1, 2), scan_counter, np.complex64),
        trajectory=np.zeros((1, 2, 0), np.float32),
    )


def name_of(item: Any) -> Any:
    """Which item it is and what happened to it, comparable."""
    if isinstance(item, Readouts):
        return int(item.headers["scan_counter"][0]), int(item.headers["user_int"][0, 0])
    if isinstance(item, ismrmrd.Acquisition):
        return int(item.scan_counter), int(item.user_int[0])
    return item


def outcome(runner: Run, recipe: Recipe, items: Iterable[Any]) -> list[Any]:
    """All results, and the failure in words if there is one."""
    results: list[Any] = []
    try:
        for item in runner(recipe, items, CONTEXT):
            results.append(name_of(item))
    except GadgetError as error:
        results.append(str(error))
    return results
