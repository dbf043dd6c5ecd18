"""A full disk under the journal, and the server's own end: no scan is stopped unsaid."""

import errno
import logging
import resource
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gadgets.image_type import ImageType
from pipelines import journal as journal_module
from tests.pipelines import wire
from tests.pipelines.serving import contents, serving, trickle
from tests.pipelines.short_scan import CONFIG, HEADER, RECIPE, SCAN, journals
from tests.pipelines.wire import CLOSE, RawClient


def test_a_client_that_never_reads_does_not_hold_up_the_servers_end() -> None:
    sent = [wire.prefixed(2, RECIPE), HEADER, wire.image(np.ones((1, 1, 2048, 2048), "<c8"), 7), CLOSE]
    limits = {"send_timeout_s": 1e6, "drain_timeout_s": 0.1, "linger_timeout_s": 0.1}
    with serving(**limits) as server, RawClient(server.address) as client:
        client.send(*sent)
        assert client.socket.recv(1)  # the image is on its way
        server.stop()
        server._thread.join(wire.DEADLINE_S)
        assert not server._thread.is_alive()


def test_a_client_without_a_scan_does_not_hold_up_the_servers_end() -> None:
    with serving(drain_timeout_s=1e6) as server, RawClient(server.address) as client:
        client.send(CONFIG, wire.query("health"))
        assert client.socket.recv(1)  # the session is there
        server.stop()
        assert "server: stopped before a scan began" in trickle(client, iter([b""] * 1000)).decode(
            errors="replace"
        )


def test_a_scan_in_a_long_step_at_the_servers_end_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    busy, released = threading.Event(), threading.Event()

    def shown(_self: ImageType, items: Iterable[object], _context: object) -> Iterator[object]:
        for item in items:
            busy.set()
            assert released.wait(wire.DEADLINE_S)
            yield item

    monkeypatch.setattr(ImageType, "__call__", shown)
    with serving(drain_timeout_s=0.1, linger_timeout_s=0.1) as server, RawClient(server.address) as client:
        client.send(*SCAN)
        assert busy.wait(wire.DEADLINE_S)
        server.stop()
        received = b""
        while not received.endswith(CLOSE):
            received += client.socket.recv(1 << 16)
        error, _ = wire.messages(received)
        assert error.text.startswith("ERROR server: stopped while the scan was being reconstructed")
        released.set()


@contextmanager
def tiny_disk(folder: Path) -> Iterator[None]:
    folder.mkdir()
    mount = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=4k", "tmpfs", folder],
        capture_output=True,
        text=True,
        check=False,
    )
    if mount.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mount.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", folder], check=True)


@contextmanager
def small_files(_folder: Path) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def failing_writes(_folder: Path) -> Iterator[None]:
    def write(_descriptor: int, _data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        kept = {name: getattr(journal_module.os, name) for name in ("open", "close")}
        flags = {name: value for name, value in vars(journal_module.os).items() if name.startswith("O_")}
        patch.setattr(journal_module, "os", SimpleNamespace(write=write, **kept, **flags))
        yield


@pytest.mark.parametrize(
    ("disk", "reason"),
    [
        (tiny_disk, "No space left on device"),
        (small_files, "File too large"),
        (failing_writes, "No space left on device"),
    ],
)
def test_a_full_disk_under_the_journal_warns_and_stops_no_scan(
    disk: Callable[[Path], Iterator[None]],
    reason: str,
    expected: list[object],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with disk(tmp_path / "disk"), serving(tmp_path / "disk") as server, RawClient(server.address) as client:  # type: ignore[attr-defined]
        client.send(*SCAN)
        assert contents(client.messages()) == expected
        (kept,) = journals(server)
        assert b"".join(SCAN).startswith(kept)
    (warning,) = (
        record for record in caplog.records if record.levelno == logging.WARNING and "journal" in record.msg
    )
    assert reason in warning.getMessage()


def test_a_journal_directory_that_cannot_be_made(
    expected: list[object], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").touch()
    with serving(tmp_path / "file") as server, RawClient(server.address) as client:
        client.send(*SCAN)
        assert contents(client.messages()) == expected
    assert "expected to write what is received" in caplog.text


SERVE = """
import signal, sys
from pipelines.limits import Limits
from pipelines.server import Server
server = Server(port=0, limits=Limits(drain_timeout_s=3.0, linger_timeout_s=2.0))
signal.signal(signal.SIGTERM, lambda *_: server.stop())
print(server.address[1], flush=True)
server.serve_forever()
"""


def test_sigterm_lets_scans_end_and_tells_those_that_do_not(expected: list[object]) -> None:
    process = subprocess.Popen([sys.executable, "-c", SERVE], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        address = ("127.0.0.1", int(process.stdout.readline()))
        with RawClient(address) as complete, RawClient(address) as stuck, RawClient(address) as warm:
            warm.send(*SCAN)  # the first reconstruction of a process is slow
            assert contents(warm.messages()) == expected
            for client in (complete, stuck):
                client.send(*SCAN[:5])
            process.send_signal(signal.SIGTERM)
            complete.send(*SCAN[5:])
            assert contents(complete.messages()) == expected
            assert "server: stopped before the scan was complete" in stuck.error()
        assert process.wait(wire.DEADLINE_S) == 0
        with pytest.raises(ConnectionRefusedError):
            RawClient(address)
    finally:
        process.kill()
        process.communicate()
