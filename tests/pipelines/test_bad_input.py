"""Bad input: one clear error and CLOSE for who sent it, nothing for anybody else, and the journal kept."""

import errno
import logging
import re
import resource
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from gadgets.image_type import ImageType
from pipelines import journal as journal_module
from pipelines.messages import Response
from pipelines.server import Server
from tests.pipelines import wire
from tests.pipelines.serving import contents, footprint, offline, serving, wait_for
from tests.pipelines.test_stream import LIES, PARTS
from tests.pipelines.wire import CLOSE, RawClient

SCAN = wire.scan()
CONFIG, HEADER, LINES = SCAN[0], SCAN[1], SCAN[2:-1]
RECIPE = 'name = "show"\nabout = "images to images"\nstart = "images"\n[[gadget]]\nuse = "ImageType"\n'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("journals")) as running:
        yield running


@pytest.fixture(scope="module")
def expected() -> list[object]:
    return contents(offline(SCAN))


Refused = Callable[..., str]


@pytest.fixture
def refused(server: Server, expected: list[object]) -> Refused:
    """Sends bytes, perhaps ends the stream, and returns the error, while another scan goes on unharmed."""

    def send(*parts: bytes, end: bool = False) -> str:
        before = footprint()
        with RawClient(server.address) as other, RawClient(server.address) as client:
            other.send(*SCAN[:5])
            client.send(*parts)
            if end:
                client.end()
            error = client.error()
            other.send(*SCAN[5:])
            assert contents(other.messages()) == expected
        wait_for(before)
        assert not parts or b"".join(parts) in journals(server)
        return error

    return send


def journals(server: Server) -> list[bytes]:
    assert server._journal is not None
    return [path.read_bytes() for path in server._journal.iterdir()]


def line(
    number: int = 0, n_coils: int = wire.N_COILS, n: int = wire.N, value: complex = 1, **fields: int
) -> bytes:
    data = np.full((n_coils, n), value, np.complex64)
    return wire.acquisition(data, kspace_encode_step_1=number, scan_counter=number + 1, **fields)


@pytest.mark.parametrize("n_messages", range(len(SCAN)))
def test_a_stream_cut_between_messages(refused: Refused, n_messages: int) -> None:
    assert "expected CLOSE (id 4) at the end" in refused(*SCAN[:n_messages], end=True)


@pytest.mark.parametrize("kind", sorted(set(PARTS) - {"response", "error"}))
def test_a_stream_cut_inside_a_message(refused: Refused, kind: str) -> None:
    before = {"config": [], "config text": [], "query": [], "text": [CONFIG], "header": [CONFIG]}
    part = PARTS[kind][: len(PARTS[kind]) // 2]
    error = refused(*before.get(kind, [CONFIG, HEADER]), part, end=True)
    assert re.search(r"byte \d+: expected \d+ more bytes of a message", error)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("header", "Header"),
        ("text", "Text"),
        ("acquisition", "Readouts"),
        ("image", "Image"),
        ("waveform", "Waveform"),
        ("response", "Response"),
        ("error", "Text"),
    ],
)
def test_a_wrong_first_message(refused: Refused, kind: str, name: str) -> None:
    error = refused(PARTS[kind])
    assert f"expected a configuration (id 1 or 2) or a query (id 6) first, got {name};" in error


@pytest.mark.parametrize("n_messages", [0, 1, 2, 5])
def test_an_unknown_id(refused: Refused, n_messages: int) -> None:
    error = refused(*SCAN[:n_messages], struct.pack("<H", 4711), bytes(1000))
    assert re.search("expected a message id .*1008 ACQUISITION.* got 4711", error)


@pytest.mark.parametrize("kind", LIES)
def test_a_length_that_cannot_be_true(refused: Refused, kind: str) -> None:
    before = {"config text": [], "query": [], "header": [CONFIG], "text": [CONFIG]}.get(
        kind, [CONFIG, HEADER]
    )
    resident_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = refused(*before, LIES[kind], bytes(1000))
    assert re.search(r"of at most \d+ bytes, got a length of \d+", error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident_kb < 100_000


def test_data_before_the_header(refused: Refused) -> None:
    for kind in ("acquisition", "waveform", "image"):
        assert "expected the MRD header (id 3) before any data" in refused(CONFIG, PARTS[kind])


@pytest.mark.parametrize("n_lines", [0, 3])
def test_two_headers(refused: Refused, n_lines: int) -> None:
    error = refused(CONFIG, HEADER, *LINES[:n_lines], HEADER, *LINES[n_lines:], CLOSE)
    assert re.search("expected data .*, got Header; send messages in MRD's order", error)


def test_two_configurations(refused: Refused) -> None:
    for config in (CONFIG, PARTS["config text"]):
        assert "expected the MRD header (id 3) before any data, got Config" in refused(CONFIG, config)


GOOD_XML = wire.header_xml().decode()


BAD_HEADERS = {
    "DOCTYPE": (GOOD_XML.replace("?>", "?><!DOCTYPE a [<!ENTITY b 'c'>]>").encode(), "no document type"),
    "UTF-16": (GOOD_XML.encode("utf-16"), "UTF-8"),
    "Latin-1": (GOOD_XML.replace("cartesian", "cart\u00e9sian").encode("latin-1"), "UTF-8, got byte 0xe9"),
    "empty": (b"", "XML, got nothing"),
    "cut": (GOOD_XML[:100].encode(), "well-formed XML"),
    "other XML": (b"<a/>", "the root element <ismrmrdHeader>, got <a>"),
    "no number": (
        GOOD_XML.replace("<x>8</x>", "<x>many</x>").encode(),
        "/encoding/encodedSpace/matrixSize/x to be a whole number, got 'many'",
    ),
}


@pytest.mark.parametrize("kind", BAD_HEADERS)
def test_a_bad_header_is_refused_before_any_data_comes(refused: Refused, kind: str) -> None:
    xml, said = BAD_HEADERS[kind]
    assert f"ERROR MRD header: expected {said}" in refused(CONFIG, wire.prefixed(3, xml))


UNFIT_HEADERS = {
    "no encoding": (GOOD_XML.replace("encoding>", "other>"), "got 0 encodings"),
    "no samples": (GOOD_XML.replace("<x>8</x>", "<x>0</x>"), "expected matrix sizes of at least 1"),
    "huge": (re.sub("<(.)>8</.>", r"<\1>65535</\1>", GOOD_XML), "expected images in progress of at most"),
    "radial": (GOOD_XML.replace("cartesian", "radial"), "expected a cartesian trajectory, got 'radial'"),
}


@pytest.mark.parametrize("kind", UNFIT_HEADERS)
def test_a_header_that_does_not_fit_the_recipe(refused: Refused, kind: str) -> None:
    xml, said = UNFIT_HEADERS[kind]
    assert said in refused(CONFIG, wire.prefixed(3, xml), *LINES[:2])


def test_bad_utf_8(refused: Refused) -> None:
    bad = b"caf\xe9 bad"
    assert "expected a recipe name in UTF-8" in refused(wire.config_file(bad))
    assert "expected a configuration in UTF-8" in refused(wire.prefixed(2, bad))
    assert "expected a text in UTF-8" in refused(CONFIG, wire.prefixed(5, bad))
    assert "expected a query in UTF-8" in refused(wire.query(bad))
    image = wire.image(np.zeros((1, 1, 1, 1), "<f4"), 5, bad)
    assert "expected image attributes in UTF-8" in refused(CONFIG, HEADER, image)


@pytest.mark.parametrize("name", ["nothing_of_the_kind", "../x", "/etc/passwd", "", "__init__", "*"])
def test_an_unknown_recipe(refused: Refused, name: str) -> None:
    assert f"recipe '{name}': expected one of " in refused(wire.config_file(name), HEADER)
    assert "cartesian_fft" in refused(wire.config_file(name))


BAD_RECIPES = {
    "bad TOML": ("name = ", "recipe in CONFIG_TEXT: expected name, about and"),
    "deep TOML": ("a = " + "[" * 50_000, "recipe in CONFIG_TEXT: expected name, about and"),
    "unknown gadget": (
        RECIPE.replace("ImageType", "os.system"),
        "gadget 1: expected one of .*, got 'os.system'",
    ),
    "bad parameter": (RECIPE + "with = { part = 'half' }", "ImageType.*expected part to be one of mag.* got 'half'"),
    "XML with DOCTYPE": ("<!DOCTYPE a><a/>", "without a document type"),
    "bad XML": ("<a>", "expected well-formed XML"),
}


@pytest.mark.parametrize("kind", BAD_RECIPES)
def test_a_recipe_that_cannot_run(refused: Refused, kind: str) -> None:
    text, said = BAD_RECIPES[kind]
    assert re.search(said, refused(wire.prefixed(2, text)))


BAD_PARAMETERS = {
    "bad JSON": ("{", 'expected JSON {"parameters"'),
    "a list": ('{"parameters": [1]}', 'expected JSON {"parameters"'),
    "deep": ('{"parameters": ' + "[" * 50_000, 'expected JSON {"parameters"'),
    "bad value": ('{"parameters": {"ImageType.part": "half"}}', "expected part to be one of magnitude, "),
    "no such gadget": ('{"parameters": {"Nothing.part": 1}}', "with a gadget of this recipe"),
}


@pytest.mark.parametrize("kind", BAD_PARAMETERS)
def test_bad_parameters(refused: Refused, kind: str) -> None:
    text, said = BAD_PARAMETERS[kind]
    assert said in refused(CONFIG, HEADER, wire.prefixed(5, text), LINES[0])


WRONG_READOUTS: dict[str, tuple[list[bytes], str]] = {
    "line beyond": ([line(wire.N)], f"kspace_encode_step_1 between .* 0 and {wire.N - 1}, got {wire.N}"),
    "line far beyond": ([line(65535)], "expected kspace_encode_step_1 between .*, got 65535"),
    "slice beyond": ([line(1, slice=1)], "expected slice between its encoding limits 0 and 0, got 1"),
    "no such encoding": ([line(1, encoding_space_ref=3)], "expected an encoding number 3"),
    "more channels": ([line(1, n_coils=3)], "readouts of 2 channels as the scan began, got 3"),
    "fewer samples": ([line(1, n=6)], "readouts of 8 samples as the scan began, got 6"),
    "no channels": ([line(1, n_coils=0)], "readouts of 2 channels as the scan began, got 0"),
    "no samples": ([line(1, n=0)], "readouts of 8 samples as the scan began, got 0"),
    "NaN": ([line(1, value=complex("nan")), *LINES[2:], CLOSE], "NaN or Inf .*kspace_encode_step_1 1"),
    "Inf": ([line(1, value=complex(0, np.inf)), *LINES[2:], CLOSE], "NaN or Inf .*kspace_encode_step_1 1"),
    "compressed": ([line(1, flags=1 << 52)], "expected uncompressed samples"),
}


@pytest.mark.parametrize("kind", WRONG_READOUTS)
def test_readouts_that_do_not_fit_the_scan(refused: Refused, kind: str) -> None:
    wrong, said = WRONG_READOUTS[kind]
    assert re.search(said, refused(CONFIG, HEADER, LINES[0], *wrong))


def test_a_failing_gadget_is_named_with_recipe_and_scan_counter(refused: Refused) -> None:
    error = refused(CONFIG, HEADER, *LINES[:3], line(6, n_coils=5))
    assert re.search("ERROR recipe 'cartesian_fft', gadget Accumulate: expected .* at scan counter 7;", error)


def test_no_data_at_all(refused: Refused) -> None:
    assert "expected data after the one header, got Close" in refused(CONFIG, HEADER, CLOSE)


def test_lines_that_make_no_image(refused: Refused) -> None:
    error = refused(CONFIG, HEADER, LINES[0], CLOSE)
    assert "expected imaging readouts, got no readouts that make an image" in error


@pytest.mark.parametrize("n_messages", [0, 1, 2, 5, len(SCAN)])
def test_a_client_that_vanishes(server: Server, expected: list[object], n_messages: int) -> None:
    sent = b"".join(SCAN[:n_messages]) + CONFIG[:100]
    before = footprint()
    with RawClient(server.address) as other:
        other.send(*SCAN[:5])
        client = RawClient(server.address)
        client.send(sent)
        client.reset()
        other.send(*SCAN[5:])
        assert contents(other.messages()) == expected
    wait_for(before)
    assert any(sent.startswith(kept) for kept in journals(server))


def test_a_client_that_never_reads() -> None:
    pixels = np.ones((1, 1, 2048, 2048), "<c8")
    sent = [wire.prefixed(2, RECIPE), HEADER, wire.image(pixels, 7), CLOSE]
    with serving(send_timeout_s=0.3, linger_timeout_s=0.3) as server:
        before = footprint()
        with RawClient(server.address) as client:
            client.send(*sent)
            wait_for((before[0], before[1] + 1))  # the server has given up, with the client still there
            n_received = 0
            while piece := received_until_reset(client.socket):
                n_received += piece
            assert 0 < n_received < pixels.nbytes // 2  # cut, and nothing put behind the cut


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


def test_what_was_complete_before_an_error_is_sent_before_it(server: Server) -> None:
    scan = wire.scan(n_slices=2)
    first, _ = offline(scan)
    with RawClient(server.address) as client:
        client.send(*scan[: 4 + wire.N], line(99))
        image, error = client.messages()
    assert contents([image]) == contents([first])
    assert "got 99" in error.text


def received_until_reset(connection: socket.socket) -> int:
    try:
        return len(connection.recv(1 << 20))
    except ConnectionResetError:
        return 0


def trickle(client: RawClient, pieces: Iterator[bytes]) -> bytes:
    """What the server answers to pieces sent one by one, up to its CLOSE."""
    received = b""
    for piece in pieces:
        client.send(piece)
        while select.select([client.socket], [], [], 0.02)[0]:
            got = client.socket.recv(1 << 16)
            if not got:
                return received
            received += got
    raise AssertionError("the server has had enough patience")


def test_a_client_that_sends_a_byte_at_a_time() -> None:
    with serving(message_timeout_s=0.3) as server, RawClient(server.address) as client:
        client.send(CONFIG, HEADER, LINES[0])
        received = trickle(client, (bytes([byte]) for byte in LINES[1]))
    (error, _) = wire.messages(received)
    assert re.search(r"expected a whole message within 0 s, got \d+ bytes of it", error.text)


def test_a_client_that_asks_and_asks_and_never_begins() -> None:
    with serving(handshake_timeout_s=0.3) as server, RawClient(server.address) as client:
        received = trickle(client, iter([wire.query("health")] * 1000))
    *answers, error, _ = wire.messages(received)
    assert set(answers) == {Response(1, "ok")}
    assert "expected a configuration and a header within 0.3 s" in error.text


SILENCES = {
    "at once": ([], "handshake_timeout_s", "got nothing for 0.2 s"),
    "before the header": ([CONFIG], "handshake_timeout_s", "got nothing for 0.2 s"),
    "before the data": ([CONFIG, HEADER], "idle_timeout_s", "got nothing for 0.2 s"),
    "between readouts": ([CONFIG, HEADER, *LINES[:3]], "idle_timeout_s", "got nothing for 0.2 s"),
    "inside a readout": ([CONFIG, HEADER, LINES[0][:50]], "message_timeout_s", "expected a whole message"),
}


@pytest.mark.parametrize("kind", SILENCES)
def test_a_client_that_falls_silent(kind: str) -> None:
    parts, limit, said = SILENCES[kind]
    with serving(**{limit: 0.2}) as server, RawClient(server.address) as client:
        client.send(*parts)
        assert said in client.error()


def test_an_error_does_not_wait_for_a_client_that_has_fallen_silent(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(CONFIG, HEADER, LINES[0], line(99))
        assert "got 99" in client.error()


def test_a_client_that_goes_on_sending_after_its_error(server: Server) -> None:
    block = b"".join(LINES) * 100
    with RawClient(server.address) as client:
        client.send(CONFIG, HEADER, line(99), block)
        for _ in range(20):
            client.send(block)
        assert "got 99" in client.error()


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


def test_many_sessions_at_once_each_get_their_own_images(server: Server) -> None:
    scans = [wire.scan(seed, n_slices=2) for seed in range(32)]
    together = [RawClient(server.address) for _ in scans]

    def converse(number: int) -> list[object]:
        with together[number] as client:
            for message in scans[number]:
                client.send(message)
            return contents(client.messages())

    with ThreadPoolExecutor(len(scans)) as pool:
        received = list(pool.map(converse, range(len(scans))))
    assert received == [contents(offline(scan)) for scan in scans]


def test_more_sessions_than_allowed(expected: list[object]) -> None:
    with serving(n_sessions=2) as server:
        running = [RawClient(server.address) for _ in range(2)]
        for client in running:
            client.send(*SCAN[:5])
        for _ in range(2):  # as many as are refused in words at once
            with RawClient(server.address) as refused:
                refused.send(*SCAN)
                assert refused.error() == "ERROR server: 2 sessions are running; try again later"
        for client in running:
            with client:
                client.send(*SCAN[5:])
                assert contents(client.messages()) == expected


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


def noted(server: Server, *parts: bytes) -> list[str]:
    """What the one image of these messages says of itself."""
    with RawClient(server.address) as client:
        client.send(CONFIG, HEADER, *parts, CLOSE)
        (image,) = client.messages()
    notes = image.meta["Reconstream.Note"]
    return notes if isinstance(notes, list) else [notes]


NOISE = wire.acquisition(
    np.random.default_rng(7).standard_normal((wire.N_COILS, 512)).astype(np.complex64), flags=1 << 18
)


@pytest.mark.parametrize(
    ("parts", "note"),
    [
        (LINES, "not noise-whitened: no noise scan"),
        (
            [NOISE, *LINES[:-1], line(wire.N - 1)],
            "no last-in-slice flag: reconstructed when the stream ended",
        ),
        ([NOISE, *LINES[:6]], f"2 of {wire.N} lines missing"),
        ([NOISE, *LINES[:3], *LINES[4:]], f"1 of {wire.N} lines missing"),
    ],
    ids=["no noise scan", "no last-in-slice flag", "interrupted", "missing line"],
)
def test_what_is_no_error_is_reconstructed_and_said(
    server: Server, parts: list[bytes], note: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert note in noted(server, *parts)
    assert note in caplog.text


def test_a_whole_scan_with_noise_has_nothing_to_say(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(CONFIG, HEADER, NOISE, *LINES, CLOSE)
        (image,) = client.messages()
    assert "Reconstream.Note" not in image.meta
