"""Clients that vanish, stall, never read, or come all at once: an end for them, nothing for anybody else."""

import re
import socket
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from pipelines.messages import Response
from pipelines.server import Server
from tests.pipelines import wire
from tests.pipelines.serving import contents, footprint, offline, serving, trickle, wait_for
from tests.pipelines.short_scan import CONFIG, HEADER, LINES, RECIPE, SCAN, journals, line
from tests.pipelines.wire import CLOSE, RawClient


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


def received_until_reset(connection: socket.socket) -> int:
    try:
        return len(connection.recv(1 << 20))
    except ConnectionResetError:
        return 0


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
