"""Studies in a folder, for all the servers and commands of a machine."""

import hashlib
import logging
import secrets
import sqlite3
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import time
from types import TracebackType
from typing import NamedTuple, Self

import msgspec
import safetensors.torch
import torch

from gadgets.study import Item, Kept, Kind, ScanIdentity, found_among, n_bytes_of
from pipelines.studies.files import alone, shared, write_whole
from pipelines.studies.index import Index, Row
from pipelines.studies.tokens import Tokens

MAX_AGE_S = 24 * 3600.0
"""An examination is over by then."""
MAX_BYTES = 10 << 30
_MAX_WAITING_BYTES = 512 << 20
"""Of items that the disk has not taken yet."""
_LOGGER = logging.getLogger("reconstream")


class _Waiting(NamedTuple):
    blob: str
    at: float
    item: Item


class StudyFolder:
    """Studies in `folder`, made where it is missing.

    A thread of its own writes: `keep` costs a scan no time, and what waits to be written is found as well. A
    blob is on the disk before it is in the index, and is held against its hash when it is read, so that a
    process may be killed at any moment; what it left half done is removed when the folder is next opened.
    Items older than `max_age_s` are not found any more and removed at the next change; the oldest are removed
    beyond `max_bytes`. A disk that fails is warned of, and never stops a scan.

    Raises InputError for a folder with another's index, OSError for one that cannot be made.
    """

    def __init__(
        self,
        folder: Path,
        *,
        max_age_s: float = MAX_AGE_S,
        max_bytes: int = MAX_BYTES,
        clock: Callable[[], float] = time,
    ) -> None:
        self._folder, self._blobs = folder, folder / "blobs"
        self._max_age_s, self._max_bytes, self._clock = max_age_s, max_bytes, clock
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._blobs.mkdir(mode=0o700, exist_ok=True)
        with alone(folder):
            self._tokens = Tokens(folder)
            # Two, so that a scan that looks something up does not wait for the disk.
            self._index, self._changes = (Index(folder / "index.sqlite") for _ in range(2))
            self._tidy()
        self._waiting: deque[_Waiting] = deque()
        self._lock = threading.Lock()
        self._writer: threading.Thread | None = None

    def keep(self, item: Item) -> None:
        item = replace(
            item,
            scan=item.scan.mapped(self._tokens),
            name=item.name and self._tokens("name", item.name),
            tensors=dict(item.tensors),
        )
        with self._lock:
            n_bytes = n_bytes_of(item) + sum(n_bytes_of(other.item) for other in self._waiting)
            if n_bytes > _MAX_WAITING_BYTES:
                _LOGGER.warning("studies in %s: the disk is too slow; an item is not kept", self._folder)
                return
            self._waiting.append(_Waiting(f"{secrets.token_hex(16)}.safetensors", self._clock(), item))
            if self._writer is None or not self._writer.is_alive():
                self._writer = threading.Thread(target=self._write_all, name="studies", daemon=True)
                self._writer.start()

    def find(self, kind: Kind, scan: ScanIdentity, name: str = "") -> Sequence[Kept]:
        scan, name = scan.mapped(self._tokens), name and self._tokens("name", name)
        with self._lock:
            waiting = list(self._waiting)
        found = found_among([(one.at, one.item) for one in waiting], kind, scan, name)
        try:
            rows = self._index.find(kind, scan, name, self._clock() - self._max_age_s)
        except sqlite3.Error as error:
            self._warn("find items", error)
            return found
        written_since = {one.blob for one in waiting}
        return [*found, *(self._kept(row) for row in rows if row.blob not in written_since)]

    def rows(self) -> list[Row]:
        """Everything in the index that has not expired, the oldest first."""
        since = self._clock() - self._max_age_s
        return [row for row in self._index.all() if row.kept_at > since]

    def forget(self, blobs: Sequence[str]) -> None:
        """Remove the items with these blobs."""
        with shared(self._folder):
            self._changes.forget(blobs)
            self._remove(blobs)

    def flush(self) -> None:
        """Return when what was kept so far is on the disk."""
        with self._lock:
            writer = self._writer
        if writer is not None:
            writer.join()

    def close(self) -> None:
        """Write what waits, and leave the folder."""
        self.flush()
        self._index.close()
        self._changes.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _write_all(self) -> None:
        while True:
            with self._lock:
                if not self._waiting:
                    self._writer = None
                    return
                waiting = self._waiting[0]
            try:
                self._write(waiting)
            except (OSError, sqlite3.Error, RuntimeError) as error:  # torch raises RuntimeError
                self._warn("keep an item", error)
            finally:
                with self._lock:
                    self._waiting.popleft()

    def _write(self, waiting: _Waiting) -> None:
        blob, at, item = waiting
        content = safetensors.torch.save({key: t.cpu().contiguous() for key, t in item.tensors.items()})
        row = Row(
            blob=blob,
            kind=item.kind,
            name=item.name,
            measurement=item.scan.measurement,
            study=item.scan.study,
            frame_of_reference=item.scan.frame_of_reference,
            coil_set=item.scan.coil_set,
            about=msgspec.json.encode(item.about).decode(),
            kept_at=at,
            n_bytes=len(content),
            sha256=hashlib.sha256(content).hexdigest(),
        )
        with shared(self._folder):
            write_whole(self._blobs / blob, content)
            self._remove(self._changes.add(row))
            self._remove(self._changes.forget_old(self._clock() - self._max_age_s, self._max_bytes))

    def _kept(self, row: Row) -> Kept:
        return Kept(
            about=msgspec.json.decode(row.about),
            measurement=row.measurement,
            kept_at=row.kept_at,
            load=partial(self._load, row),
        )

    def _load(self, row: Row) -> Mapping[str, torch.Tensor] | None:
        try:
            content = (self._blobs / row.blob).read_bytes()
        except FileNotFoundError:
            return None  # expired, purged or replaced since it was found
        except OSError as error:
            self._warn("read an item", error)
            return None
        if hashlib.sha256(content).hexdigest() != row.sha256:
            self._warn("read an item", f"bytes that do not have its SHA-256, in {row.blob}")
            return None
        tensors: dict[str, torch.Tensor] = safetensors.torch.load(content)
        return tensors

    def _tidy(self) -> None:
        """Remove what has expired, and files that are not in the index: their writers are dead."""
        self._changes.forget_old(self._clock() - self._max_age_s, self._max_bytes)
        known = {row.blob for row in self._index.all()}
        self._remove([path.name for path in self._blobs.iterdir() if path.name not in known])

    def _remove(self, blobs: Sequence[str]) -> None:
        for blob in blobs:
            (self._blobs / blob).unlink(missing_ok=True)

    def _warn(self, what: str, got: object) -> None:
        _LOGGER.warning("studies in %s: expected to %s, got: %s", self._folder, what, got)
