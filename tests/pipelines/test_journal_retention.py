"""Journals are kept up to a limit: the oldest finished ones go first, one being written stays."""

import logging
from pathlib import Path

import pytest

from pipelines.journal import Journal
from pipelines.journal_retention import remove_oldest
from tests.pipelines import wire
from tests.pipelines.serving import serving
from tests.pipelines.wire import RawClient


def journal(folder: Path, n_bytes: int = 100) -> Journal:
    written = Journal(folder, "1")
    written.write(memoryview(b"x" * n_bytes))
    return written


def finished(folder: Path, n_bytes: int = 100) -> Path:
    written = journal(folder, n_bytes)
    written.close()
    return written.path


@pytest.mark.parametrize(("limit", "n_kept"), [(1000, 3), (300, 3), (299, 2), (200, 2), (199, 1), (0, 0)])
def test_the_oldest_go_until_the_rest_is_within_the_limit(tmp_path: Path, limit: int, n_kept: int) -> None:
    paths = [finished(tmp_path) for _ in range(3)]
    remove_oldest(tmp_path, limit)
    assert sorted(tmp_path.iterdir()) == paths[3 - n_kept :]


def test_a_journal_that_is_being_written_stays_until_it_is_finished(tmp_path: Path) -> None:
    oldest, younger = journal(tmp_path), finished(tmp_path)
    remove_oldest(tmp_path, 0)
    assert list(tmp_path.iterdir()) == [oldest.path]
    assert not younger.exists()
    oldest.write(memoryview(b"more"))
    oldest.close()
    remove_oldest(tmp_path, 0)
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_let_be(tmp_path: Path) -> None:
    other = tmp_path / "scan.mrd"
    other.write_bytes(b"y" * 1000)
    kept = finished(tmp_path)
    remove_oldest(tmp_path, 100)
    assert sorted(tmp_path.iterdir()) == sorted([other, kept])


def test_a_directory_that_is_not_there_has_no_journals(tmp_path: Path) -> None:
    remove_oldest(tmp_path / "missing", 0)


def test_what_cannot_be_removed_is_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "20250101T000000.000000Z_000001.mrd").mkdir()
    finished(tmp_path)
    remove_oldest(tmp_path, 0)
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "expected to remove the oldest, got:" in caplog.text


def test_a_server_keeps_what_fits_and_always_the_running_scans(tmp_path: Path) -> None:
    scan = wire.scan()
    with serving(tmp_path, journal_bytes=sum(map(len, scan))) as server:
        with RawClient(server.address) as running:
            running.send(*scan[:3])
            for _ in range(3):
                with RawClient(server.address) as client:
                    client.send(*scan)
                    assert len(client.messages()) > 0
            running.send(*scan[3:])
            assert len(running.messages()) > 0
        with RawClient(server.address) as client:
            client.send(*scan)
            client.messages()
    assert 2 <= len(list(tmp_path.iterdir())) <= 3
    assert all(path.read_bytes() == b"".join(scan) for path in tmp_path.iterdir())
