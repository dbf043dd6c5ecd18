"""The receiving half of a connection: a thread that journals what arrives and hands it on, in order."""

import queue
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from time import monotonic

from pipelines.chunks import Chunk, chunks_of
from pipelines.journal import Journal
from recon_core.errors import SessionError

_N_WAITING = 4
_POLL_S = 0.5


class Receiver:
    """Receives from `connection` into `journal`, ahead of whoever iterates over `chunks`.

    At most a few chunks wait; beyond that nothing more is received, and TCP holds the sender back.
    """

    def __init__(self, connection: socket.socket, journal: Journal | None, idle_timeout_s: float) -> None:
        self._connection, self._journal = connection, journal
        self._waiting: queue.Queue[Chunk | Exception | None] = queue.Queue(_N_WAITING)
        self._discarding, self._interrupted = threading.Event(), threading.Event()
        self.idle_timeout_s = idle_timeout_s
        self._thread = threading.Thread(target=self._receive, name="receiver", daemon=True)
        self._thread.start()

    def chunks(self) -> Iterator[Chunk]:
        """What arrives, with an empty chunk now and then while nothing does.

        Raises SessionError when the peer resets the connection or is silent for `idle_timeout_s`.
        """
        last = Chunk(memoryview(b""), 0, 0)
        last_arrival = monotonic()
        while not self._interrupted.is_set():
            try:
                received = self._waiting.get(timeout=_POLL_S)
            except queue.Empty:
                if monotonic() - last_arrival > self.idle_timeout_s:
                    raise SessionError(
                        f"connection: expected data or CLOSE, got nothing for {self.idle_timeout_s:g} s; "
                        "the peer has stalled"
                    ) from None
                if len(last.buffer) > 0:
                    yield Chunk(last.buffer, last.end, last.end)
                continue
            if received is None:
                return
            if isinstance(received, Exception):
                raise SessionError(f"connection: expected data or CLOSE, got: {received}") from received
            last, last_arrival = received, monotonic()
            yield received

    def interrupt(self) -> None:
        """Let `chunks` end, from any thread, though the peer may go on."""
        self._interrupted.set()
        with suppress(queue.Full):
            self._waiting.put_nowait(None)  # it need not wait for its poll

    def discard(self) -> None:
        """From now on journal only: nobody reads `chunks` any more, and it ends for who still waits."""
        self._discarding.set()
        self.interrupt()

    def join(self, timeout_s: float) -> None:
        """Wait until the peer has closed its side."""
        self._thread.join(timeout_s)

    def _receive(self) -> None:
        try:
            for chunk in chunks_of(self._connection.recv_into):
                if self._journal is not None:
                    self._journal.write(chunk.bytes)
                self._hand_on(chunk)
            self._hand_on(None)
        except (OSError, MemoryError) as error:
            self._hand_on(error)
        finally:
            if self._journal is not None:
                self._journal.close()

    def _hand_on(self, received: Chunk | Exception | None) -> None:
        while not self._discarding.is_set():
            try:
                self._waiting.put(received, timeout=_POLL_S)
                return
            except queue.Full:
                continue
