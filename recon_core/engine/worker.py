"""The one thread that owns a device."""

from __future__ import annotations

import itertools
import logging
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from time import monotonic

import torch

from recon_core.engine.inference import Inference, Pass
from recon_core.engine.manifest import Precision
from recon_core.engine.package import ModelPackage
from recon_core.engine.slices import Slices, likeness, single_slices
from recon_core.engine.waiting import Closed, Priority, Waiting, WaitingLine
from recon_core.errors import EngineError, InputError

_LOGGER = logging.getLogger("reconstream.engine")
CLOSED = "the engine was closed"


@dataclass(frozen=True)
class Settings:
    """How a device is used."""

    device: torch.device
    batch_size: int
    latency_budget_s: float
    mixed_precision: bool
    """For packages that allow it."""


class Worker:
    """Serves the slices that sessions hand in until closed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._line = WaitingLine(settings.latency_budget_s)
        self._numbers = itertools.count()
        self._inferences: dict[str, Inference] = {}
        self._thread = threading.Thread(target=self._serve, name="engine", daemon=True)
        self._thread.start()

    def passes(
        self,
        package: ModelPackage,
        normalised: Slices,
        anatomy: str | None,
        session: int,
        priority: Priority,
        timeout_s: float,
    ) -> list[Pass]:
        """One pass for each slice, in order. Raises EngineError for whatever keeps one from coming."""
        deadline = monotonic() + timeout_s
        inference = self._inferences.setdefault(package.hash, self._inference(package))
        key = (package.hash, anatomy, *likeness(normalised))
        waiting = [
            Waiting(priority, next(self._numbers), one, key, anatomy, session, inference, Future())
            for one in single_slices(normalised)
        ]
        try:
            self._line.put(waiting)
            return [w.result.result(timeout=max(deadline - monotonic(), 0)) for w in waiting]
        except Closed as closed:
            raise EngineError(package.id, str(closed)) from None
        except TimeoutError:
            raise EngineError(package.id, f"no image within {timeout_s:g} s") from None
        finally:
            for w in waiting:
                w.result.cancel()

    def close(self) -> None:
        """End after the pass under way; who waits, and who comes later, hears at once."""
        self._fail(self._line.close(CLOSED), CLOSED)
        self._thread.join(timeout=10)

    def _inference(self, package: ModelPackage) -> Inference:
        reduced = [p for p in package.manifest.precision if p != "float32"]
        precision: Precision = reduced[0] if reduced and self._settings.mixed_precision else "float32"
        return Inference(package, self._settings.device, self._settings.batch_size, precision)

    def _serve(self) -> None:
        reason = CLOSED
        batch: list[Waiting] = []
        try:
            while True:
                batch = [w for w in self._line.take(self._settings.batch_size) if _is_wanted(w)]
                if batch:
                    _run(batch)
        except Closed:
            return
        except BaseException as error:
            reason = f"the engine's worker ended: {type(error).__name__}: {error}"
            _LOGGER.exception("the worker ended")
        finally:
            for w in batch:
                if not w.result.done():
                    w.result.set_exception(EngineError(w.inference.package.id, reason))
            self._fail(self._line.close(reason), reason)

    @staticmethod
    def _fail(waiting: Sequence[Waiting], reason: str) -> None:
        for w in waiting:
            if _is_wanted(w):
                w.result.set_exception(EngineError(w.inference.package.id, reason))


def _is_wanted(waiting: Waiting) -> bool:
    """Whether its session still waits; from now on it can no longer leave."""
    return waiting.result.set_running_or_notify_cancel()


def _run(batch: Sequence[Waiting]) -> None:
    """Give each its image or its error; a session's failure is not that of the others in its batch."""
    inference = batch[0].inference
    try:
        done = inference([w.slice for w in batch], batch[0].anatomy)
    except Exception as error:
        sessions = {w.session for w in batch}
        if len(sessions) > 1:
            for session in sessions:
                _run([w for w in batch if w.session == session])
            return
        _LOGGER.exception("model %s failed", inference.package.id)
        reason = _reason(error)
        for w in batch:
            w.result.set_exception(EngineError(inference.package.id, reason))
    else:
        for i, w in enumerate(batch):
            w.result.set_result(replace(done, images=done.images[i : i + 1]))


def _reason(error: Exception) -> str:
    if isinstance(error, EngineError):
        return error.reason
    return str(error) if isinstance(error, InputError) else f"{type(error).__name__}: {error}"
