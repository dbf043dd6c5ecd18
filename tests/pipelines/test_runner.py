"""The runner: order, bypass, backpressure, and failures that name where they happened."""

import contextvars
import os
import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from time import monotonic, sleep
from typing import Any, ClassVar

import ismrmrd
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gadgets.gadget import Context, Gadget
from gadgets.records import HEADER_DTYPE, ImageSeries, Readouts
from pipelines import recipe as recipe_module
from pipelines.recipe import Recipe, Step
from pipelines.runner import QUEUE_SIZE, run, run_threaded
from recon_core.errors import GadgetError, InputError, StreamError

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


@pytest.fixture(autouse=True)
def tiny_gadgets(monkeypatch: pytest.MonkeyPatch) -> None:
    Hold.released = threading.Event()
    monkeypatch.setattr(recipe_module, "known_gadgets", lambda: GADGETS)


@pytest.fixture(autouse=True)
def no_thread_is_left() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    deadline = monotonic() + DEADLINE_S
    for thread in set(threading.enumerate()) - before:
        thread.join(max(0.0, deadline - monotonic()))
        assert not thread.is_alive(), thread.name


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


@pytest.mark.parametrize("runner", [run, run_threaded])
def test_every_gadget_sees_everything_in_order(runner: Run) -> None:
    recipe = recipe_of(*(Step("Number", {"digit": digit}) for digit in (1, 2, 3)))
    assert outcome(runner, recipe, map(readout, range(50))) == [(n, 123) for n in range(50)]


STEPS = st.sampled_from(
    [Step("Number"), Step("Pair"), Step("OneByOne"), Step("FirstOnly")]
    + [Step("FailAt", {"scan_counter": n}) for n in (0, 3)]
)


@settings(max_examples=60, deadline=None)
@given(st.lists(STEPS, max_size=4), st.lists(st.booleans(), max_size=30))
def test_threaded_gives_what_chained_gives(steps: list[Step], is_readout: list[bool]) -> None:
    def items() -> Iterator[Any]:
        for number, ours in enumerate(is_readout):
            yield readout(number) if ours else f"foreign {number}"

    recipe = recipe_of(*steps)
    assert outcome(run_threaded, recipe, items()) == outcome(run, recipe, items())


@pytest.mark.parametrize("runner", [run, run_threaded])
def test_a_gadget_that_ends_early_loses_nothing_foreign(runner: Run) -> None:
    items = [readout(0), *(f"foreign {n}" for n in range(3 * QUEUE_SIZE)), readout(1)]
    results = outcome(runner, recipe_of(Step("FirstOnly")), items)
    assert results == [(0, 0), *items[1:-1]]


def test_bypassed_items_do_not_wait_for_a_busy_gadget() -> None:
    fed: queue.Queue[Any] = queue.Queue()
    results = run_threaded(recipe_of(Step("Number"), Step("OneByOne")), iter(fed.get, None), CONTEXT)
    for n in range(5):
        fed.put(f"foreign {n}")
        assert next(results) == f"foreign {n}"  # though no later item has come
    fed.put(None)
    assert list(results) == []


def test_a_bypassed_item_comes_out_while_the_gadget_behind_it_is_blocked() -> None:
    results = run_threaded(recipe_of(Step("Hold")), ["foreign", readout(0)], CONTEXT)
    assert next(results) == "foreign"
    assert not Hold.released.is_set()
    Hold.released.set()
    assert [name_of(item) for item in results] == [(0, 0)]


@pytest.mark.parametrize("n_gadgets", [1, 3])
def test_the_source_is_not_read_ahead_of_the_queues(n_gadgets: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 64)  # the held gadget is to keep no other from computing
    n_read, moved = 0, threading.Condition()

    def endless() -> Iterator[Readouts]:
        nonlocal n_read
        while True:
            with moved:
                n_read += 1
                moved.notify()
            yield readout(n_read)

    recipe = recipe_of(*[Step("Number")] * n_gadgets, Step("Hold"))
    most = (n_gadgets + 1) * (QUEUE_SIZE + 1) + 1
    results = run_threaded(recipe, endless(), CONTEXT)
    started = threading.Thread(target=lambda: next(results, None), daemon=True)
    started.start()
    with moved:
        assert moved.wait_for(lambda: n_read >= most, DEADLINE_S)
        assert not moved.wait_for(lambda: n_read > most, 0.3)
    Hold.released.set()
    started.join(DEADLINE_S)
    results.close()


def test_gadgets_that_fill_the_cores_compute_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    monkeypatch.setattr(CountAtOnce, "most", 0)
    recipe = recipe_of(*[Step("CountAtOnce")] * 4)
    assert len(list(run_threaded(recipe, map(readout, range(50)), CONTEXT))) == 50
    assert CountAtOnce.most == 1


@pytest.mark.parametrize("runner", [run, run_threaded])
def test_a_failure_names_recipe_gadget_and_scan_counter(runner: Run) -> None:
    recipe = recipe_of(Step("Number"), Step("FailAt", {"scan_counter": 7}), Step("Number"))
    with pytest.raises(GadgetError) as caught:
        list(runner(recipe, map(readout, range(1000)), CONTEXT))
    assert (caught.value.recipe, caught.value.gadget, caught.value.scan_counter) == ("tiny", "FailAt", 7)
    assert str(caught.value) == (
        "recipe 'tiny', gadget FailAt, at or after scan counter 7: coils: expected 8, got 7; check"
    )
    assert isinstance(caught.value.__cause__, InputError)


def block(first: int, last: int) -> Readouts:
    blocks = [readout(n) for n in range(first, last + 1)]
    return Readouts(
        headers=np.concatenate([one.headers for one in blocks]),
        data=np.concatenate([one.data for one in blocks]),
        trajectory=np.concatenate([one.trajectory for one in blocks]),
    )


@pytest.mark.parametrize("cut", [[(1, 9)], [(1, 3), (4, 7), (8, 9)], [(n, n) for n in range(1, 10)]])
def test_a_failure_that_names_its_readout_is_the_same_however_the_stream_is_cut(
    cut: list[tuple[int, int]],
) -> None:
    with pytest.raises(GadgetError) as caught:
        list(run(recipe_of(Step("FailOn")), (block(*ends) for ends in cut), CONTEXT))
    assert caught.value.scan_counter == 5
    assert str(caught.value) == "recipe 'tiny', gadget FailOn: expected 4, got 5 at scan counter 5; check"


def test_a_failure_in_a_block_names_its_first_readout() -> None:
    with pytest.raises(GadgetError, match="gadget FailAt, at or after scan counter 3: coils"):
        list(run(recipe_of(Step("FailAt", {"scan_counter": 6})), [block(1, 2), block(3, 6)], CONTEXT))


def test_a_failure_at_the_end_names_the_last_readout() -> None:
    with pytest.raises(GadgetError, match="gadget FailAt, at the end, after scan counter 4: incomplete"):
        list(run(recipe_of(Step("FailAt", {"scan_counter": -1})), [block(1, 4)], CONTEXT))


@pytest.mark.parametrize("runner", [run, run_threaded])
def test_an_unforeseen_failure_names_its_kind(runner: Run) -> None:
    recipe = recipe_of(Step("FailAt", {"scan_counter": 0, "expected": False}))
    with pytest.raises(GadgetError, match="gadget FailAt, at or after scan counter 0: KeyError: 'lost'"):
        list(runner(recipe, [readout(0)], CONTEXT))


@pytest.mark.parametrize("runner", [run, run_threaded])
def test_what_was_made_before_a_failure_comes_out_before_it(runner: Run) -> None:
    recipe = recipe_of(Step("FailAt", {"scan_counter": 5}), Step("Number"), Step("Number"))
    results = outcome(runner, recipe, map(readout, range(1000)))
    assert results[:-1] == [(n, 11) for n in range(5)]
    assert "scan counter 5" in results[-1]


@pytest.mark.parametrize("runner", [run, run_threaded])
def test_a_failure_of_the_source_is_no_gadgets_fault(runner: Run) -> None:
    def cut() -> Iterator[Readouts]:
        yield readout(0)
        raise StreamError("cut")

    results = runner(recipe_of(Step("Number"), Step("Pair")), cut(), CONTEXT)
    with pytest.raises(StreamError, match=r"^cut$"):
        next(results)  # half a pair is no result


def test_closing_early_ends_the_threads_of_an_endless_scan() -> None:
    def endless() -> Iterator[Readouts]:
        while True:
            yield readout(1)

    results = run_threaded(recipe_of(Step("Number"), Step("Number")), endless(), CONTEXT)
    next(results)
    results.close()  # the fixture counts threads


def test_a_failure_is_raised_though_the_source_is_waiting_for_its_peer() -> None:
    silent: queue.Queue[Any] = queue.Queue()

    def waiting() -> Iterator[Any]:
        yield readout(0)
        yield from iter(silent.get, None)

    with pytest.raises(GadgetError):
        list(run_threaded(recipe_of(Step("FailAt", {"scan_counter": 0})), waiting(), CONTEXT))
    silent.put(None)


def test_a_failure_is_raised_only_once_a_file_is_no_longer_read() -> None:
    read = threading.Event()

    def reading() -> Iterator[Any]:
        yield readout(0)
        sleep(0.2)  # inside the library that reads
        read.set()
        yield readout(1)

    recipe = recipe_of(Step("FailAt", {"scan_counter": 0}))
    with pytest.raises(GadgetError):
        list(run_threaded(recipe, reading(), CONTEXT, is_live=False))
    assert read.is_set()


def test_gadgets_see_the_callers_context_variables() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    variable.set(3)

    def source() -> Iterator[Any]:
        yield variable.get()

    assert list(run_threaded(recipe_of(), source(), CONTEXT)) == [3]
