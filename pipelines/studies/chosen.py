"""Which studies a command works with."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gadgets.study import Studies, StudyStore
from pipelines.studies.folder import StudyFolder
from recon_core.errors import InputError
from recon_core.user_folder import user_folder

_LOGGER = logging.getLogger("reconstream")


def default_folder() -> Path:
    """`RECONSTREAM_STUDIES`, or `reconstream/studies` where the platform keeps a user's data."""
    return user_folder("RECONSTREAM_STUDIES", "studies")


@contextmanager
def chosen_studies(choice: str) -> Iterator[Studies]:
    """The studies in a folder: `choice` is its path, or `on` for the default one; `off`: in memory only.

    Where the default folder cannot be used, which nobody asked for by name, they are in memory, with a
    warning. Raises what `StudyFolder` raises for another.
    """
    if choice == "off":
        yield StudyStore()
        return
    try:
        folder = StudyFolder(default_folder() if choice == "on" else Path(choice))
    except (InputError, OSError) as error:
        if choice != "on":
            raise
        _LOGGER.warning("studies are forgotten when the process ends: %s", error)
        yield StudyStore()
        return
    with folder:
        yield folder
