"""The runner: failures that name where they happened, and come when they should."""

import queue
import threading
from collections.abc import Iterator
from time import sleep
from typing import Any

import numpy as np
import pytest

from gadgets.records import Readouts
from pipelines.recipe import Step
from pipelines.runner import run, run_threaded
from recon_core.errors import GadgetError, InputError, StreamError
from tests.pipelines.tiny_gadgets import CONTEXT, Run, outcome, readout, recipe_of

pytestmark = pytest.mark.usefixtures("tiny_gadgets", "no_thread_is_left")


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
