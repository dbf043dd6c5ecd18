"""The server: listens, gives every client its own session and thread, and drains when told to stop."""

import ipaddress
import itertools
import logging
import socket
import threading
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import TYPE_CHECKING, Self

from gadgets.study import Studies, StudyStore
from pipelines import inference
from pipelines.journal import Journal
from pipelines.journal_retention import remove_oldest
from pipelines.limits import Limits
from pipelines.session import ERROR_PREFIX, Session
from recon_core.engine.engine import Engine
from recon_core.errors import SessionError

if TYPE_CHECKING:
    from pipelines.outputs.dicom_archive import DicomArchive

DEFAULT_PORT = 9002
_LOGGER = logging.getLogger("reconstream")
_POLL_S = 0.2
_LAST_WORDS_S = 1.0
"""What sessions that did not end in time get to tell their clients."""


class Server:
    """An MRD server on `host`:`port` (0 takes a free one).

    With a journal directory, every session's bytes are kept there before they are parsed. `error_prefix`
    begins the text of every error sent. Raises SessionError when the address cannot be taken, and for one
    that others can reach unless `allow_remote`. With `engine_process` networks run in a process of their own.
    What one scan leaves for the next is kept in `studies`, or in memory until the server ends; what recipes'
    DicomOut is to keep, in `archive`.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        *,
        journal: Path | None = None,
        limits: Limits | None = None,
        allow_remote: bool = False,
        error_prefix: str = ERROR_PREFIX,
        engine_process: bool = False,
        studies: Studies | None = None,
        archive: "DicomArchive | None" = None,
    ) -> None:
        if not allow_remote and not _is_loopback(host):
            raise SessionError(
                f"address {host}: expected a loopback address, since anyone who reaches the port can send "
                "scans; allow remote clients explicitly (--allow-remote)"
            )
        self._journal, self._limits, self._error_prefix = journal, limits or Limits(), error_prefix
        self._studies, self._archive = studies or StudyStore(), archive
        self._sessions: dict[threading.Thread, Session] = {}
        self._refusals: list[threading.Thread] = []
        self._numbers = itertools.count(1)
        self.is_stopping = False
        """Whether `stop` has been called."""
        self._at_once = False
        self._listener = _listening(host, port)
        self._listener.settimeout(_POLL_S)
        self._engine = Engine(inference.device(), own_process=engine_process)

    @property
    def address(self) -> tuple[str, int]:
        """The host and port that are listened on."""
        host, port = self._listener.getsockname()[:2]
        return host, port

    def serve_forever(self) -> None:
        """Accept clients until `stop`, then let running sessions end, and end those that do not in time."""
        _LOGGER.info("reconstream ready on %s:%d", *self.address)
        with self._listener:
            while not self.is_stopping:
                try:
                    connection, peer = self._listener.accept()
                    self._open(connection, f"{peer[0]}:{peer[1]}")
                except TimeoutError:
                    continue
                except (OSError, RuntimeError) as error:  # no descriptor or no thread to be had
                    _LOGGER.error("a client could not be served: %s; the server goes on", error)
                    sleep(_POLL_S)
        self._drain()
        self._engine.close()
        if self._archive:
            self._archive.close(_LAST_WORDS_S)
        _LOGGER.info("reconstream stopped")

    def warm_up(self) -> None:
        """Make the shipped recipes' models ready, so that no patient waits for it."""
        inference.warm_up(self._engine)

    def stop(self, *, at_once: bool = False) -> None:
        """Accept nobody any more and drain, or interrupt also the scans; safe in a signal handler."""
        self.is_stopping = True  # plain flags: a lock might be held by the very code that was interrupted
        self._at_once = self._at_once or at_once

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, name="server", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._thread.join()

    def _open(self, connection: socket.socket, peer: str) -> None:
        connection.settimeout(None)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._forget_ended()
        number = f"{next(self._numbers):06d}"
        logger = logging.LoggerAdapter(_LOGGER, {"scan": f"session {number}: "})
        if len(self._sessions) >= self._limits.n_sessions:
            logger.warning("client %s refused", peer)
            self._refuse(connection, logger)
            return
        if self._journal and self._limits.journal_bytes is not None:
            remove_oldest(self._journal, self._limits.journal_bytes)
        journal = Journal(self._journal, number) if self._journal else None
        logger.info("client %s, journal %s", peer, journal.path if journal else "none")
        session = self._session(connection, journal, logger)
        thread = threading.Thread(target=session.run, name=f"session-{number}", daemon=True)
        self._sessions[thread] = session
        thread.start()

    def _session(
        self,
        connection: socket.socket,
        journal: Journal | None,
        logger: logging.LoggerAdapter[logging.Logger],
    ) -> Session:
        return Session(
            connection,
            journal,
            self._limits,
            self._studies,
            self._engine,
            logger,
            self._error_prefix,
            self._archive,
        )

    def _refuse(self, connection: socket.socket, logger: logging.LoggerAdapter[logging.Logger]) -> None:
        """In a thread of its own, since clients take their time to hear; silently beyond as many again."""
        if len(self._refusals) >= self._limits.n_sessions:
            connection.close()
            return
        session = self._session(connection, None, logger)
        reason = f"server: {len(self._sessions)} sessions are running; try again later"
        thread = threading.Thread(target=session.refuse, args=(reason,), name="refusal", daemon=True)
        self._refusals.append(thread)
        thread.start()

    def _forget_ended(self) -> None:
        self._sessions = {thread: s for thread, s in self._sessions.items() if thread.is_alive()}
        self._refusals = [thread for thread in self._refusals if thread.is_alive()]

    def _drain(self) -> None:
        """End idle sessions; wait for the scans; interrupt those that still run after the drain timeout."""
        self._forget_ended()
        for session in self._sessions.values():
            if not session.has_begun:
                session.interrupt("server: stopped before a scan began; try again later")
        deadline = monotonic() + self._limits.drain_timeout_s
        for thread in self._sessions:
            while thread.is_alive() and not self._at_once and (left_s := deadline - monotonic()) > 0:
                thread.join(min(left_s, _POLL_S))
        self._forget_ended()
        for session in self._sessions.values():
            session.interrupt(
                "server: stopped before the scan was complete; send it again or replay its journal"
            )
        deadline = monotonic() + min(self._limits.linger_timeout_s, _LAST_WORDS_S)
        for thread, session in self._sessions.items():
            thread.join(max(0.0, deadline - monotonic()))
            if thread.is_alive():
                session.report("server: stopped while the scan was being reconstructed; replay its journal")


def _listening(host: str, port: int) -> socket.socket:
    try:
        return socket.create_server((host, port), backlog=128)
    except OSError as error:
        reason = str(error.strerror).partition(" (while")[0]  # the address is named already
        raise SessionError(
            f"address {host}:{port}: expected one that is free here, got: {reason}; "
            "stop what listens there, or choose another"
        ) from error


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
