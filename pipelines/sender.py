"""The sending half of a connection: whole messages, in bounded time."""

import select
import socket
import struct
import threading
from time import monotonic

import ismrmrd
from ismrmrd.serialization import ProtocolSerializer

from pipelines.stream import MessageId
from recon_core.errors import SessionError


class Sender:
    """Sends messages over `connection`, from any thread, one whole message after the other.

    Every method raises SessionError when the peer has gone, or takes nothing for `timeout_s`.
    """

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection, self._timeout_s = connection, timeout_s
        self._lock = threading.RLock()
        self._serializer = ProtocolSerializer(self)

    def image(self, image: ismrmrd.Image) -> None:
        with self._lock:
            self._serializer.serialize(image)

    def text(self, text: str) -> None:
        with self._lock:
            self._serializer.serialize(text)

    def response(self, number: int, answer: str) -> None:
        encoded = answer.encode()
        with self._lock:
            self.write(struct.pack("<HQQ", MessageId.RESPONSE, number, len(encoded)) + encoded)

    def close(self) -> None:
        with self._lock:
            self.write(struct.pack("<H", MessageId.CLOSE))

    def write(self, message: bytes) -> None:
        """Send bytes as they are (the serializer writes its pieces through this)."""
        left = memoryview(message).cast("B")
        last_progress = monotonic()
        while len(left) > 0:
            try:
                _, writable, _ = select.select([], [self._connection], [], 1.0)
                if writable:
                    left = left[self._connection.send(left, socket.MSG_DONTWAIT) :]
                    last_progress = monotonic()
            except BlockingIOError:
                continue
            except OSError as error:
                raise SessionError(f"connection: expected the peer to receive, got: {error}") from error
            if monotonic() - last_progress > self._timeout_s:
                raise SessionError(
                    f"connection: expected the peer to receive, got no progress for {self._timeout_s:.0f} s; "
                    "the peer has stopped reading"
                )
