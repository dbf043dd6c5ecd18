"""Sends a scan to a server and receives its images."""

import logging
import socket
import struct
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from time import monotonic
from typing import Any

import ismrmrd
import numpy as np
from ismrmrd.serialization import ConfigFile, ConfigText

from gadgets.records import HEADER_DTYPE, Readouts
from pipelines.chunks import chunks_of
from pipelines.limits import Limits
from pipelines.messages import Close, MessageId, Response, Text
from pipelines.sender import Sender
from pipelines.stream import MessageReader
from recon_core.errors import SessionError

_LOGGER = logging.getLogger("reconstream")
_CONNECT_TIMEOUT_S = 10.0
_POLL_S = 0.5
TIMEOUT_S = 600.0
"""Without a byte from the server: a reconstruction may take minutes, and images come at its end."""
_REMARKS = ("DEBUG", "INFO", "WARNING")
"""How servers begin a TEXT that reports no failure."""
_NO_CLOSE = "it closed the connection without CLOSE"


def send(
    header_xml: bytes,
    items: Iterable[Any],
    recipe: str,
    *,
    host: str = "127.0.0.1",
    port: int = 9002,
    limits: Limits | None = None,
    timeout_s: float = TIMEOUT_S,
) -> Iterator[ismrmrd.Image]:
    """Stream a scan to the server at `host`:`port`, yielding each image as it arrives.

    `recipe` is a name the server knows, or a recipe in full (XML or TOML, recognised by its line breaks or
    "<"). Raises SessionError with the server's words when it reports a failure, when it vanishes, or when it
    has been silent for `timeout_s` after the whole scan was sent.
    """
    limits = limits or Limits()
    with _connected(host, port) as connection, ThreadPoolExecutor(1, "sender") as pool:
        sending = pool.submit(_send_scan, connection, limits, header_xml, items, recipe)
        refusal = _NO_CLOSE
        try:
            for message in _messages(_patiently(connection, sending, timeout_s), limits):
                match message:
                    case ismrmrd.Image():
                        yield message
                    case Text(text) if text.startswith(_REMARKS):
                        _LOGGER.info("server %s:%d: %s", host, port, text)
                    case Text(text):
                        refusal = text
                        _shut_down(connection, socket.SHUT_WR)  # no use in sending the rest
                    case Close() if refusal is _NO_CLOSE:
                        refusal = ""
        except SessionError as error:
            refusal = str(error) if refusal is _NO_CLOSE else refusal
        finally:
            _shut_down(connection)  # so that the sender ends though we may have left early
        failure = sending.exception()
        if failure and not isinstance(failure, SessionError):
            raise failure
        if refusal:
            raise SessionError(f"server {host}:{port}: {refusal}")
        if failure:
            raise SessionError(
                f"server {host}:{port}: expected it to take the whole scan, got an early CLOSE; see its log"
            ) from failure


def ask(question: str, *, host: str = "127.0.0.1", port: int = 9002) -> str:
    """The server's answer to a query such as "reconstream::version" or "health"."""
    with _connected(host, port) as connection:
        connection.settimeout(_CONNECT_TIMEOUT_S)
        encoded = question.encode()
        query = struct.pack("<HQQQ", MessageId.QUERY, 0, 1, len(encoded)) + encoded
        connection.sendall(query + struct.pack("<H", MessageId.CLOSE))
        for message in _messages(connection.recv_into, Limits()):
            if isinstance(message, Response):
                return message.answer
    raise SessionError(f"server {host}:{port}: expected an answer to '{question}', got none")


def serialized(readouts: Readouts) -> bytes:
    """Readouts as the acquisition messages of the wire, in one piece."""
    n_readouts = len(readouts)
    parts = [
        np.full((n_readouts, 1), MessageId.ACQUISITION, "<u2").view(np.uint8),
        np.ascontiguousarray(readouts.headers).view(np.uint8).reshape(n_readouts, HEADER_DTYPE.itemsize),
        np.ascontiguousarray(readouts.trajectory).view(np.uint8).reshape(n_readouts, -1),
        np.ascontiguousarray(readouts.data).view(np.uint8).reshape(n_readouts, -1),
    ]
    return np.concatenate(parts, axis=1).tobytes()


def _connected(host: str, port: int) -> socket.socket:
    try:
        connection = socket.create_connection((host, port), _CONNECT_TIMEOUT_S)
    except OSError as error:
        raise SessionError(
            f"server {host}:{port}: expected a server listening there, got: {error}; "
            "start one with `reconstream serve`, or correct the address"
        ) from error
    connection.settimeout(None)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return connection


def _patiently(
    connection: socket.socket, sending: Future[None], timeout_s: float
) -> Callable[[memoryview], int]:
    """Receives; SessionError once nothing has come for `timeout_s` after all was sent.

    Before, the server may well be silent; that it takes what is sent, the sender sees to.
    """
    poll_s = min(timeout_s, _POLL_S)
    microseconds = struct.pack("ll", int(poll_s), int(poll_s % 1 * 1e6) or 1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, microseconds)  # a timeout of receiving only
    last = monotonic()

    def receive_into(buffer: memoryview) -> int:
        nonlocal last
        while True:
            try:
                n_received = connection.recv_into(buffer)
            except BlockingIOError:
                if not sending.done():
                    last = monotonic()
                elif monotonic() - last > timeout_s:
                    raise SessionError(
                        f"expected images or CLOSE, got nothing for {timeout_s:g} s; see its log or wait on"
                    ) from None
            else:
                last = monotonic()
                return n_received

    return receive_into


def _messages(read_into: Callable[[memoryview], int], limits: Limits) -> Iterator[Any]:
    try:
        yield from MessageReader(chunks_of(read_into), limits)
    except OSError as error:
        raise SessionError(f"expected it to answer to the end, got: {error}; see its log") from error


def _shut_down(connection: socket.socket, how: int = socket.SHUT_RDWR) -> None:
    with suppress(OSError):  # the server may have hung up already
        connection.shutdown(how)


def _send_scan(
    connection: socket.socket, limits: Limits, header_xml: bytes, items: Iterable[Any], recipe: str
) -> None:
    sender = Sender(connection, limits.send_timeout_s)
    try:
        is_text = "\n" in recipe or recipe.lstrip().startswith("<")
        sender.send(ConfigText(recipe) if is_text else ConfigFile(recipe))
        sender.write(struct.pack("<HI", MessageId.HEADER, len(header_xml)) + header_xml)
        for item in items:
            if isinstance(item, Readouts):
                sender.write(serialized(item))
            else:
                sender.send(item)
        sender.close()
    finally:
        _shut_down(connection, socket.SHUT_WR)
