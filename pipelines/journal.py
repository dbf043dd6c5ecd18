"""What came over the wire, byte for byte, in a file that can be replayed."""

import fcntl
import logging
import os
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

JOURNALS = "*Z_*.mrd"
"""How journals are called, by the time they began."""
_LOGGER = logging.getLogger("reconstream")


class Journal:
    """An append-only file of one session's received bytes, written before they are parsed.

    The file is made with the first byte: a peer that only knocks leaves none. A journal that cannot be
    written (a full disk, say) warns once and stops writing; it never stops a scan.
    """

    def __init__(self, directory: Path, session: str) -> None:
        self.path = directory / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%f}Z_{session}.mrd"
        self.failure: OSError | None = None
        self._descriptor: int | None = None

    def write(self, received: memoryview) -> None:
        """Append, whole or not at all in the eyes of a reader: a cut message is the last of its file."""
        try:
            if self._descriptor is None and self.failure is None:
                self._descriptor = self._opened()
            while self._descriptor is not None and len(received) > 0:
                received = received[os.write(self._descriptor, received) :]
        except OSError as error:
            self._fail(error)

    def _opened(self) -> int:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        with suppress(OSError):  # a disk without locks
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)  # says that it is being written
        return descriptor

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            try:
                os.close(descriptor)
            except OSError as error:  # where a network disk tells that it was full
                self._fail(error)

    def remove(self) -> None:
        """There is nothing in it to replay."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)

    def _fail(self, error: OSError) -> None:
        self.close()
        if self.failure is not None:
            return
        self.failure = error
        _LOGGER.warning(
            "journal %s: expected to write what is received, got: %s; the scan goes on without a journal, "
            "free the disk before the next",
            self.path,
            error.strerror,
        )
