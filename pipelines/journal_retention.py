"""Old journals make room for new ones."""

import fcntl
import logging
import os
from pathlib import Path

from pipelines.journal import JOURNALS

_LOGGER = logging.getLogger("reconstream")


def remove_oldest(directory: Path, n_bytes: int) -> None:
    """Remove finished journals, oldest first, until those in `directory` take at most `n_bytes`.

    A journal that is being written, by whichever process, is not finished and is kept, whatever its size;
    other files are let be. What cannot be removed is warned of.
    """
    try:
        sizes = {path: path.stat().st_size for path in sorted(directory.glob(JOURNALS))}  # names are times
        n_kept = sum(sizes.values())
        for path, size in sizes.items():
            if n_kept <= n_bytes:
                return
            if _is_finished(path):
                path.unlink()
                n_kept -= size
                _LOGGER.info("journal %s removed to keep at most %g GB", path, n_bytes / 1e9)
    except OSError as error:
        _LOGGER.warning(
            "journals in %s: expected to remove the oldest, got: %s; remove some by hand", directory, error
        )


def _is_finished(path: Path) -> bool:
    """Whether nobody holds the lock that a journal has while it is written."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(descriptor)
    return True
