"""The client: images as they come, the server's own words when it refuses, and never a hang."""

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from time import sleep
from typing import Any

import ismrmrd
import numpy as np
import pytest

from gadgets.records import Readouts
from pipelines import client
from pipelines.client import ask, send
from pipelines.server import Server
from recon_core.errors import InputError, SessionError, StreamError
from tests.pipelines import wire
from tests.pipelines.serving import contents, footprint, offline, serving, wait_for

SCAN = wire.scan()
XML = wire.header_xml()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with serving() as running:
        yield running


@pytest.fixture(autouse=True)
def nothing_is_left(server: Server) -> Iterator[None]:  # noqa: ARG001 - it is there before and after
    before = footprint()
    yield
    wait_for(before)


def items() -> list[Any]:
    return wire.messages(b"".join(SCAN[2:-1]))


def sent(server: Server, items: Any, recipe: str = "cartesian_fft") -> list[ismrmrd.Image]:
    return list(send(XML, items, recipe, port=server.address[1]))


def test_what_is_sent_is_reconstructed_as_it_is_offline(server: Server) -> None:
    assert contents(sent(server, items())) == contents(offline(SCAN))


def test_readouts_acquisitions_and_waveforms_can_be_sent(server: Server) -> None:
    acquisitions = [a for readouts in items() for a in readouts.acquisitions()]
    waveform = ismrmrd.Waveform.from_array(np.zeros((2, 3), np.uint32))
    assert contents(sent(server, [*acquisitions, waveform])) == contents(offline(SCAN))


def test_a_recipe_in_full_is_sent_as_text(server: Server) -> None:
    recipe = 'name = "own"\nabout = "x"\nstart = "images"\n[[gadget]]\nuse = "ImageType"\n'
    (image,) = sent(server, [ismrmrd.Image.from_array(np.full((2, 2), 3 + 4j, np.complex64))], recipe)
    assert np.all(image.data == 5)


def test_a_refusal_is_raised_in_the_servers_words(server: Server) -> None:
    with pytest.raises(SessionError, match=r"^server 127.0.0.1:\d+: ERROR recipe 'x': expected one of"):
        sent(server, items(), "x")


def test_a_refusal_ends_the_sending_of_an_endless_scan(server: Server) -> None:
    def endless() -> Iterator[Readouts]:
        while True:
            yield from items()

    with pytest.raises(SessionError, match="ERROR recipe 'x'"):
        sent(server, endless(), "x")


def test_a_failing_source_is_raised_as_it_is(server: Server) -> None:
    def broken() -> Iterator[Readouts]:
        yield items()[0]
        raise InputError("file: expected more, got nothing; copy it again")

    with pytest.raises(InputError, match=r"^file: expected more, got nothing; copy it again$"):
        sent(server, broken())


def test_leaving_early_ends_the_sending(server: Server) -> None:
    def endless() -> Iterator[Any]:
        while True:
            yield from items()

    images = send(XML, endless(), "cartesian_fft", port=server.address[1])
    assert isinstance(next(images), ismrmrd.Image)
    images.close()  # type: ignore[attr-defined]


def test_nobody_listening_is_said_with_the_remedy() -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    with pytest.raises(SessionError, match=f"server 127.0.0.1:{port}: expected a server listening there"):
        list(send(XML, [], "cartesian_fft", port=port))


def test_a_question_is_answered(server: Server) -> None:
    assert ask("health", port=server.address[1]) == "ok"


@contextmanager
def fake_server(behave: Callable[[socket.socket], None]) -> Iterator[int]:
    """A server that does with its one client what it is told to, then closes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(wire.DEADLINE_S)

        def serve() -> None:
            with listener.accept()[0] as connection:
                behave(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        thread.join(wire.DEADLINE_S)


def read_all(connection: socket.socket) -> None:
    while connection.recv(1 << 16):
        pass


def reset(connection: socket.socket) -> None:
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def garbage(connection: socket.socket) -> None:
    connection.sendall(struct.pack("<H", 4711))
    read_all(connection)


def remark(connection: socket.socket) -> None:
    connection.sendall(wire.prefixed(5, "INFO hello"))
    read_all(connection)
    connection.sendall(wire.CLOSE)


def close_early(connection: socket.socket) -> None:
    connection.sendall(wire.CLOSE)
    connection.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize(
    ("behave", "failure", "said"),
    [
        (read_all, SessionError, "it closed the connection without CLOSE"),
        (reset, SessionError, "got: .*reset|without CLOSE"),  # whether sending or receiving sees it first
        (garbage, StreamError, "expected a message id .* got 4711"),
        (close_early, SessionError, "expected it to take the whole scan, got an early CLOSE"),
    ],
)
def test_a_server_that_fails_is_an_error(
    behave: Callable[[socket.socket], None], failure: type[Exception], said: str
) -> None:
    with fake_server(behave) as port, pytest.raises(failure, match=said):
        list(send(XML, items() * 5000, "cartesian_fft", port=port))


def test_a_server_that_never_answers_is_given_up_after_the_timeout() -> None:
    given_up = threading.Event()

    def silent(connection: socket.socket) -> None:
        read_all(connection)
        assert given_up.wait(wire.DEADLINE_S)

    said = "expected images or CLOSE, got nothing for 0.2 s"
    with fake_server(silent) as port:
        with pytest.raises(SessionError, match=rf"^server 127.0.0.1:{port}: {said}"):
            list(send(XML, items(), "cartesian_fft", port=port, timeout_s=0.2))
        given_up.set()


def test_a_scan_that_takes_longer_than_the_timeout_to_send_is_no_silence() -> None:
    def slow() -> Iterator[Any]:
        for item in items():
            sleep(0.15)
            yield item

    with fake_server(remark) as port:
        assert list(send(XML, slow(), "cartesian_fft", port=port, timeout_s=1.0)) == []


def test_a_remark_of_the_server_is_logged_and_no_error(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO", "reconstream")
    with fake_server(remark) as port:
        assert list(send(XML, items(), "cartesian_fft", port=port)) == []
    assert "INFO hello" in caplog.text


@pytest.mark.parametrize("behave", [read_all, reset, close_early])
def test_a_question_without_answer_is_an_error(
    behave: Callable[[socket.socket], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "_CONNECT_TIMEOUT_S", 0.2)
    with fake_server(behave) as port, pytest.raises(SessionError, match="expected"):
        ask("health", port=port)
