"""`reconstream studies`: list, show and purge what scans left for later ones."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pipelines.studies.folder import StudyFolder
    from pipelines.studies.index import Row

app = typer.Typer(help="List, show and purge what scans left for later ones.", no_args_is_help=True)

Folder = Annotated[
    str, typer.Option("--studies", metavar="DIR", help="Another folder than the user's, as `serve` has it.")
]
_N_SHOWN = 12
"""Digits of a hash: enough to tell the studies of a day apart."""
_NO_STUDY = "none"


@app.command("list")
def list_(studies: Folder = "on") -> None:
    """List the studies by their hashes: when they were last added to, what they hold."""
    from collections import Counter

    with _opened(studies) as folder:
        for study, rows in _by_study(folder.rows()).items():
            kinds = Counter(row.kind for row in rows)
            held = ", ".join(f"{n} {kind}" for kind, n in sorted(kinds.items()))
            n_bytes = sum(row.n_bytes for row in rows)
            print(f"{study}  {_time(rows[-1])}  {n_bytes / 1e6:.1f} MB  {held}")


@app.command()
def show(
    study: Annotated[str, typer.Argument(help="A study's hash, as in `studies list`, or how it begins.")],
    studies: Folder = "on",
) -> None:
    """Print every item of a study: when it was kept, by which scan, and what is stored beside its data."""
    with _opened(studies) as folder:
        for row in _of(study, _by_study(folder.rows())):
            scan = row.measurement[:_N_SHOWN] or "unnamed scan"
            print(f"{row.kind}  {_time(row)}  {scan}  {row.n_bytes / 1e6:.1f} MB  {row.about}")


@app.command()
def purge(
    study: Annotated[list[str] | None, typer.Argument(help="Studies to forget; all unless told.")] = None,
    studies: Folder = "on",
) -> None:
    """Forget studies now, before they expire."""
    with _opened(studies) as folder:
        known = _by_study(folder.rows())
        rows = [row for one in study or known for row in _of(one, known)]
        folder.forget([row.blob for row in rows])
        print(f"{len(rows)} items removed")


def _opened(studies: str) -> "StudyFolder":
    from pathlib import Path

    from pipelines.studies.chosen import default_folder
    from pipelines.studies.folder import StudyFolder

    return StudyFolder(default_folder() if studies == "on" else Path(studies))


def _by_study(rows: "Iterable[Row]") -> "dict[str, list[Row]]":
    found: dict[str, list[Row]] = {}
    for row in rows:
        found.setdefault(row.study[:_N_SHOWN] or _NO_STUDY, []).append(row)
    return found


def _of(study: str, known: "dict[str, list[Row]]") -> "list[Row]":
    from recon_core.errors import InputError

    found = [name for name in known if name.startswith(study)]
    if len(found) != 1:
        raise InputError(
            f"study '{study}': expected the hash of one study, got that of {len(found)}; "
            "`reconstream studies list` has them"
        )
    return known[found[0]]


def _time(row: "Row") -> str:
    from datetime import datetime

    return f"{datetime.fromtimestamp(row.kept_at):%Y-%m-%d %H:%M:%S}"
