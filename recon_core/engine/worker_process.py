"""The worker in a process of its own, whose end is an error and not everybody's end."""

from __future__ import annotations

import itertools
import math
import shutil
import signal
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import torch.multiprocessing

from recon_core.engine.inference import Pass
from recon_core.engine.package import ModelPackage
from recon_core.engine.slices import Slices, size_bytes
from recon_core.engine.waiting import Priority
from recon_core.engine.worker import CLOSED, Settings, Worker
from recon_core.errors import EngineError

MAX_CALLS = 64
"""Calls that the process works on at the same time, each in a thread that mostly waits; others queue."""


SHARED_MEMORY = Path("/dev/shm")
"""Who writes more than fits there is killed, so that it is looked at first. Containers often have 64 MB."""

Outcome = tuple[torch.Tensor, list[Pass]] | str
"""All images and the passes without theirs, for each array takes an open file; or why there are none."""


class _Call(NamedTuple):
    number: int
    package: ModelPackage | str
    """Sent once, with its verified weights; from then on its hash."""
    arguments: tuple[Slices, str | None, int, Priority, float]


class WorkerProcess:
    """`Worker`, elsewhere: arrays go over in shared memory. Starts with a call, and anew after it died."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._child: _Child | None = None
        self._is_closed = False
        self._starting = threading.Lock()

    def passes(
        self,
        package: ModelPackage,
        normalised: Slices,
        anatomy: str | None,
        session: int,
        priority: Priority,
        timeout_s: float,
    ) -> list[Pass]:
        """As `Worker.passes`. Raises EngineError at once when the process dies."""
        if (n_bytes := size_bytes(normalised)) > _free_bytes():
            raise EngineError(package.id, f"{n_bytes / 1e6:.0f} MB do not fit in {SHARED_MEMORY}; enlarge it")
        with self._starting:
            if self._is_closed:
                raise EngineError(package.id, CLOSED)
            if self._child is None or self._child.has_ended:
                self._child = _Child(self._settings)
            child = self._child
        answer = child.ask(package, (normalised, anatomy, session, priority, timeout_s))
        try:
            outcome = answer.result(timeout_s)
        except TimeoutError:
            outcome = f"no image within {timeout_s:g} s"
        if isinstance(outcome, str):
            raise EngineError(package.id, outcome)
        images, passes = outcome
        return [replace(one, images=images[i : i + 1]) for i, one in enumerate(passes)]

    def close(self) -> None:
        """End the process; who waits, and who comes later, hears at once."""
        with self._starting:
            self._is_closed = True
            if self._child is not None:
                self._child.end(CLOSED)


class _Child:
    """One process, and what was asked of it."""

    def __init__(self, settings: Settings) -> None:
        context = torch.multiprocessing.get_context("spawn")
        self._connection, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, settings), name="engine", daemon=True)
        self._process.start()
        theirs.close()
        self._numbers = itertools.count()
        self._asked: dict[int, Future[Outcome]] = {}
        self._known: set[str] = set()
        self._lock = threading.Lock()
        self._ended: str | None = None
        threading.Thread(target=self._listen, name="engine-answers", daemon=True).start()

    @property
    def has_ended(self) -> bool:
        return self._ended is not None

    def ask(self, package: ModelPackage, arguments: Any) -> Future[Outcome]:
        answer: Future[Outcome] = Future()
        with self._lock:
            if self._ended is not None:
                answer.set_result(self._ended)
                return answer
            number = next(self._numbers)
            self._asked[number] = answer
            is_known = package.hash in self._known
            try:
                self._connection.send(_Call(number, package.hash if is_known else package, arguments))
                self._known.add(package.hash)
            except (OSError, RuntimeError) as error:  # it has died; no shared memory or open files are left
                del self._asked[number]
                answer.set_result(f"the arrays did not reach the engine's process: {error}")
        return answer

    def end(self, reason: str) -> None:
        with self._lock:
            self._ended = self._ended or reason
            asked, self._asked = self._asked, {}
        self._process.kill()
        for answer in asked.values():
            answer.set_result(self._ended)

    def _listen(self) -> None:
        try:
            with suppress(EOFError, OSError, KeyError):
                while True:
                    number, outcome = self._connection.recv()
                    self._asked.pop(number).set_result(outcome)
        finally:  # whatever it was, nobody listens to that process any more
            self._process.join(timeout=1)
            self.end(f"the engine's process ended in the middle (exit code {self._process.exitcode})")


def _free_bytes() -> float:
    return shutil.disk_usage(SHARED_MEMORY).free if SHARED_MEMORY.is_dir() else math.inf


def _serve(connection: Any, settings: Settings) -> None:
    # Ctrl-C reaches every process of a terminal. The server lets scans end that need this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    worker = Worker(settings)
    packages: dict[str, ModelPackage] = {}
    answering = threading.Lock()

    def answer(call: _Call) -> None:
        package = packages[call.package] if isinstance(call.package, str) else call.package
        try:
            passes = worker.passes(package, *call.arguments)
            nothing = torch.empty(0)
            images = torch.cat([one.images for one in passes])
            outcome: Outcome = (images, [replace(one, images=nothing) for one in passes])
        except EngineError as error:
            outcome = error.reason
        except RuntimeError as error:  # of torch: no memory is left for all images together
            outcome = f"{type(error).__name__}: {error}"
        with answering:
            connection.send((call.number, outcome))

    with ThreadPoolExecutor(MAX_CALLS) as calls:
        while True:
            try:
                call: _Call = connection.recv()
            except EOFError:  # the server has ended
                worker.close()
                return
            if not isinstance(call.package, str):
                packages[call.package.hash] = call.package
            calls.submit(answer, call)
