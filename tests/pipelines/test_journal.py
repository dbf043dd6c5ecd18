"""The journal: what came over the wire, byte for byte, from which the same images can be made again."""

import errno
import os
import stat
from pathlib import Path

import pytest

from pipelines.client import ask
from pipelines.journal import Journal
from pipelines.reconstruction import reconstruct_scan
from pipelines.replay import journalled_recipe
from pipelines.server import Server
from pipelines.sources import open_scan
from tests.pipelines import wire
from tests.pipelines.serving import contents, serving
from tests.pipelines.wire import RawClient


def journalled(folder: Path, *parts: bytes) -> tuple[Path, list[object]]:
    """The journal of a session with these messages, and what the client got."""
    with serving(folder) as server:
        received = answered(server, *parts)
    (path,) = folder.iterdir()
    return path, received


def answered(server: Server, *parts: bytes) -> list[object]:
    with RawClient(server.address) as client:
        client.send(*parts)
        return client.messages()


def test_the_journal_holds_the_bytes_sent_and_only_its_owner_reads_it(tmp_path: Path) -> None:
    path, _ = journalled(tmp_path / "new" / "folder", *wire.scan())
    assert path.read_bytes() == b"".join(wire.scan())
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_bytes_after_an_error_are_kept_too(tmp_path: Path) -> None:
    parts = [*wire.scan()[:2], wire.prefixed(3, b"second header"), *wire.scan()[2:]]
    path, _ = journalled(tmp_path, *parts)
    assert path.read_bytes() == b"".join(parts)


@pytest.mark.parametrize(
    "extra",
    [
        b"",
        wire.query("health"),
        wire.prefixed(5, '{"parameters": {"ImageType.part": "phase"}}\0'),
        wire.prefixed(5, "a remark"),
    ],
    ids=["plain", "query", "parameters", "remark"],
)
def test_a_replay_equals_the_inline_run_bit_for_bit(tmp_path: Path, extra: bytes) -> None:
    config, header, *data = wire.scan(n_slices=2)
    path, received = journalled(tmp_path, config, header, extra, *data)
    scan = open_scan(path)
    replayed = list(reconstruct_scan(journalled_recipe(path), scan.header_xml, scan.items()))
    assert contents(replayed) == contents([m for m in received if hasattr(m, "getHead")])  # type: ignore[arg-type]
    assert len(replayed) == 2


def test_sessions_have_journals_of_their_own(tmp_path: Path) -> None:
    scans = [wire.scan(seed) for seed in range(3)]
    with serving(tmp_path) as server:
        for scan in scans:
            answered(server, *scan)
    assert [path.read_bytes() for path in sorted(tmp_path.iterdir())] == [b"".join(scan) for scan in scans]


def test_a_question_about_the_server_leaves_no_journal(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        host, port = server.address
        assert ask("health", host=host, port=port) == "ok"
        answered(server, *wire.scan())
    (path,) = tmp_path.iterdir()
    assert path.read_bytes() == b"".join(wire.scan())


def test_short_writes_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:3]))
    journal = Journal(tmp_path, "1")
    journal.write(memoryview(b"0123456789"))
    monkeypatch.undo()
    journal.close()
    assert journal.path.read_bytes() == b"0123456789"


def test_a_failure_is_warned_of_once_and_nothing_is_written_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path, "1")
    journal.write(memoryview(b"before"))
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left")))
        journal.write(memoryview(b"during"))
    journal.write(memoryview(b"after"))
    journal.close()
    assert journal.path.read_bytes() == b"before"
    assert journal.failure is not None
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert "No space left; the scan goes on without a journal" in caplog.text


def test_a_disk_that_tells_on_closing_that_it_was_full_is_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal, close = Journal(tmp_path, "1"), os.close
    journal.write(memoryview(b"received"))

    def full(descriptor: int) -> None:
        close(descriptor)
        raise OSError(errno.EDQUOT, "Quota exceeded")

    monkeypatch.setattr(os, "close", full)
    journal.close()
    journal.close()
    assert "Quota exceeded" in caplog.text
