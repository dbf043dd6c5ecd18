"""What the commands share on the terminal: a progress bar on stderr, and results on stdout."""

import logging
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any


class StderrHandler(logging.Handler):
    """Log lines to whatever stderr is at the moment: a progress bar puts itself in its place while drawn."""

    def emit(self, record: logging.LogRecord) -> None:
        print(self.format(record), file=sys.stderr, flush=True)


class ScanProgress:
    """How far a scan has come: the share of its bytes read, and the images made."""

    def __init__(self, bar: Any, name: str, n_bytes: int | None) -> None:
        self.n_images = 0
        self._bar = bar
        self._task = bar.add_task(name, total=n_bytes, images=0)

    def reading(self, items: Iterable[Any]) -> Iterator[Any]:
        """`items`, counted as they are taken."""
        for item in items:
            yield item
            trajectory = getattr(item, "trajectory", None)
            self._bar.advance(self._task, item.data.nbytes + (0 if trajectory is None else trajectory.nbytes))

    def receiving(self, images: Iterable[Any]) -> Iterator[Any]:
        """`images`, counted as they are made."""
        for image in images:
            self.n_images += 1
            self._bar.update(self._task, images=self.n_images)
            yield image
        total = self._bar.tasks[self._task].total or 1
        self._bar.update(self._task, total=total, completed=total)


@contextmanager
def scan_progress(name: str, n_bytes: int | None) -> Iterator[ScanProgress]:
    """A bar for one scan, drawn on stderr when that is a terminal; silent otherwise."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[images]} images"),
        TimeElapsedColumn(),
    )
    console = Console(stderr=True)
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        yield ScanProgress(bar, name, n_bytes)


def print_json(result: Any) -> None:
    """A record, or a dictionary or list of records, as indented JSON on stdout."""
    import msgspec

    sys.stdout.write(msgspec.json.format(msgspec.json.encode(result, enc_hook=str), indent=2).decode() + "\n")
