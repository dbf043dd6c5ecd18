"""The line: who goes first, who goes together, and how long anyone waits for company."""

import threading
from concurrent.futures import Future
from itertools import count
from time import monotonic, sleep

import pytest

from recon_core.engine.waiting import Closed, Priority, Waiting, WaitingLine

NUMBERS = count()
BUDGET_S = 0.2


def waiting(key: str = "a", session: int = 1, priority: Priority = Priority.INLINE) -> Waiting:
    return Waiting(priority, next(NUMBERS), None, (key,), None, session, None, Future())  # type: ignore[arg-type]


def seconds(line: WaitingLine, batch_size: int) -> tuple[float, list[Waiting]]:
    began = monotonic()
    taken = line.take(batch_size)
    return monotonic() - began, taken


def test_those_of_one_key_go_together_in_order_up_to_the_batch_size() -> None:
    line = WaitingLine(0)
    a, b, c, d, e = (waiting(key) for key in "abaaa")
    line.put([a, b, c, d, e])
    assert line.take(3) == [a, c, d]
    assert line.take(3) == [b]
    assert line.take(3) == [e]


def test_inline_goes_before_replay_that_came_earlier() -> None:
    line = WaitingLine(0)
    replay, same = (waiting("a", priority=Priority.REPLAY) for _ in range(2))
    inline = waiting("b", session=2)
    line.put([replay, same])
    line.put([inline])
    assert [line.take(1) for _ in range(3)] == [[inline], [replay], [same]]


def test_replay_fills_the_batch_of_an_inline_scan() -> None:
    line = WaitingLine(0)
    replay, inline = waiting(priority=Priority.REPLAY), waiting(session=2)
    line.put([replay])
    line.put([inline])
    assert line.take(4) == [inline, replay]


def test_a_lone_session_never_waits() -> None:
    line = WaitingLine(BUDGET_S)
    for _ in range(3):
        line.put([waiting()])
        assert seconds(line, 4)[0] < BUDGET_S / 4


def test_a_full_batch_never_waits() -> None:
    line = WaitingLine(BUDGET_S)
    line.put([waiting(session=s) for s in (1, 2)])
    assert seconds(line, 2)[0] < BUDGET_S / 4


def test_another_session_of_another_model_is_not_waited_for() -> None:
    line = WaitingLine(BUDGET_S)
    line.put([waiting("b", session=2)])
    line.take(1)
    line.put([waiting("a", session=1)])
    assert seconds(line, 4)[0] < BUDGET_S / 4


def test_another_session_is_waited_for_within_the_budget_only() -> None:
    line = WaitingLine(BUDGET_S)
    line.put([waiting(session=2)])
    line.take(1)
    line.put([mine := waiting(session=1)])
    took, taken = seconds(line, 4)
    assert BUDGET_S * 0.9 < took < BUDGET_S * 2
    assert taken == [mine]


def test_the_batch_leaves_when_the_other_session_has_come() -> None:
    line = WaitingLine(10)
    line.put([waiting(session=2)])
    line.take(1)
    line.put([mine := waiting(session=1)])
    other = waiting(session=2)
    threading.Timer(0.05, line.put, [[other]]).start()
    took, taken = seconds(line, 2)
    assert took < 5
    assert taken == [mine, other]


def test_an_inline_scan_does_not_wait_for_the_company_of_replay() -> None:
    line = WaitingLine(10)
    line.put([waiting(session=2, priority=Priority.REPLAY)])
    line.take(1)
    line.put([waiting(session=1, priority=Priority.REPLAY)])
    inline = waiting("b", session=3)
    threading.Timer(0.05, line.put, [[inline]]).start()
    took, taken = seconds(line, 4)
    assert took < 5
    assert taken == [inline]


def test_who_has_left_is_not_served() -> None:
    line = WaitingLine(0)
    left, stayed = waiting(), waiting()
    line.put([left, stayed])
    left.result.cancel()
    assert line.take(2) == [stayed]


def test_a_closed_line_gives_back_who_waited_and_refuses_who_comes() -> None:
    line = WaitingLine(0)
    line.put([w := waiting()])
    assert line.close("the end") == [w]
    with pytest.raises(Closed, match="the end"):
        line.put([waiting()])
    with pytest.raises(Closed, match="the end"):
        line.take(1)


def test_a_worker_that_waits_is_released_when_the_line_closes() -> None:
    line = WaitingLine(0)
    released = threading.Event()

    def take() -> None:
        with pytest.raises(Closed):
            line.take(1)
        released.set()

    threading.Thread(target=take).start()
    sleep(0.02)
    line.close("the end")
    assert released.wait(5)
