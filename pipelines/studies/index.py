"""The index of what is kept: whose each item is, when it was kept, and in which file its tensors lie."""

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from gadgets.study import MUST_AGREE, Kind, ScanIdentity
from recon_core.errors import InputError

MAX_FOUND = 1000
"""Items that one question is answered with, the newest: a scan can use no more."""

_FORMAT = 1
_TABLE = """
CREATE TABLE items (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    blob TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    name TEXT NOT NULL,
    measurement TEXT NOT NULL,
    study TEXT NOT NULL,
    frame_of_reference TEXT NOT NULL,
    coil_set TEXT NOT NULL,
    about TEXT NOT NULL,
    kept_at REAL NOT NULL,
    n_bytes INTEGER NOT NULL,
    sha256 TEXT NOT NULL
);
CREATE INDEX of_study ON items (study, kind);
CREATE INDEX of_name ON items (name, kind) WHERE name <> '';
CREATE INDEX of_time ON items (kept_at);
"""


class Row(NamedTuple):
    """One item. Identifiers are hashed."""

    blob: str
    kind: str
    name: str
    measurement: str
    study: str
    frame_of_reference: str
    coil_set: str
    about: str
    """JSON."""
    kept_at: float
    n_bytes: int
    sha256: str


_COLUMNS = ", ".join(Row._fields)


class Index:
    """An SQLite file that threads and processes share. Every change is made whole or not at all.

    Raises InputError for a file that is none of ours. Its methods raise sqlite3.Error.
    """

    def __init__(self, path: Path) -> None:
        self._lock = threading.Lock()
        path.touch(mode=0o600)  # SQLite gives its other files the mode of this one
        try:
            self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            # Readers do not wait for writers. A commit survives the death of the process, if not always that
            # of the machine.
            self._connection.execute("PRAGMA journal_mode = WAL")
            self._connection.execute("PRAGMA synchronous = NORMAL")
            (found,) = self._connection.execute("PRAGMA user_version").fetchone()
            if found == 0:
                self._connection.executescript(f"BEGIN; {_TABLE} PRAGMA user_version = {_FORMAT}; COMMIT")
        except sqlite3.DatabaseError as error:
            raise InputError(f"{path}: expected an index of studies, got: {error}; remove it") from error
        if found not in (0, _FORMAT):
            raise InputError(
                f"{path}: expected format {_FORMAT}, got {found}; remove it, or let each version of "
                "reconstream have a folder of its own"
            )

    def add(self, row: Row) -> list[str]:
        """Add an item; the files of those whose place it takes."""
        marks = ", ".join("?" * len(row))
        with self._change():
            replaced = self._removed(
                "name <> '' AND (kind, study, name) = (?, ?, ?)", (row.kind, row.study, row.name)
            )
            self._connection.execute(f"INSERT INTO items ({_COLUMNS}) VALUES ({marks})", row)
        return replaced

    def find(self, kind: Kind, scan: ScanIdentity, name: str, since: float) -> list[Row]:
        """What `Studies.find` is to give, of what was kept later than `since`."""
        if name:
            where = "name = ? AND kind = ? AND (study = ? OR '' IN (study, ?))"
            values: list[Any] = [name, kind, scan.study, scan.study]
        elif scan.study:
            where = "study = ? AND kind = ? AND (measurement = '' OR measurement <> ?)"
            values = [scan.study, kind, scan.measurement]
            for field in MUST_AGREE.get(kind, ()):
                where += f" AND {field} = ?"
                values.append(getattr(scan, field))
        else:
            return []
        return self._rows(f"{where} AND kept_at > ? ORDER BY number DESC LIMIT {MAX_FOUND}", [*values, since])

    def all(self) -> list[Row]:
        """Every item, the oldest first."""
        return self._rows("TRUE ORDER BY number", [])

    def forget(self, blobs: Iterable[str]) -> None:
        """Remove the items with these files."""
        with self._change():
            self._connection.executemany("DELETE FROM items WHERE blob = ?", [(blob,) for blob in blobs])

    def forget_old(self, until: float, max_bytes: int) -> list[str]:
        """Remove what was kept until then, and the oldest of the rest beyond `max_bytes`; their files."""
        with self._change():
            removed = self._removed("kept_at <= ?", (until,))
            (n_bytes,) = self._connection.execute("SELECT TOTAL(n_bytes) FROM items").fetchone()
            while n_bytes > max_bytes:
                number, size = self._connection.execute(
                    "SELECT number, n_bytes FROM items ORDER BY number LIMIT 1"
                ).fetchone()
                removed += self._removed("number = ?", (number,))
                n_bytes -= size
        return removed

    def close(self) -> None:
        with self._lock:
            self._connection.close()

    @contextmanager
    def _change(self) -> Iterator[None]:
        with self._lock:
            self._connection.execute("BEGIN IMMEDIATE")
            with self._connection:  # commits, or rolls back
                yield

    def _rows(self, where: str, values: Sequence[Any]) -> list[Row]:
        with self._lock:
            found = self._connection.execute(f"SELECT {_COLUMNS} FROM items WHERE {where}", values).fetchall()
        return [Row(*values) for values in found]

    def _removed(self, where: str, values: Sequence[Any]) -> list[str]:
        rows = self._connection.execute(f"DELETE FROM items WHERE {where} RETURNING blob", values)
        return [blob for (blob,) in rows.fetchall()]
