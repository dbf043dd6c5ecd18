"""The runner: order, bypass and backpressure."""

import contextvars
import os
import queue
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gadgets.records import Readouts
from pipelines.recipe import Step
from pipelines.runner import QUEUE_SIZE, run, run_threaded
from tests.pipelines.tiny_gadgets import (
    CONTEXT,
    DEADLINE_S,
    CountAtOnce,
    Hold,
    Run,
    name_of,
    outcome,
    readout,
    recipe_of,
)

pytestmark = pytest.mark.usefixtures("tiny_gadgets", "no_thread_is_left")


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


def test_closing_early_ends_the_threads_of_an_endless_scan() -> None:
    def endless() -> Iterator[Readouts]:
        while True:
            yield readout(1)

    results = run_threaded(recipe_of(Step("Number"), Step("Number")), endless(), CONTEXT)
    next(results)
    results.close()  # the fixture counts threads


def test_gadgets_see_the_callers_context_variables() -> None:
    variable: contextvars.ContextVar[int] = contextvars.ContextVar("variable", default=0)
    variable.set(3)

    def source() -> Iterator[Any]:
        yield variable.get()

    assert list(run_threaded(recipe_of(), source(), CONTEXT)) == [3]
