"""The sending half of a connection: whole messages, in bounded time."""

import io
import select
import socket
import struct
import threading
from time import monotonic

import ismrmrd
from ismrmrd.serialization import ProtocolSerializer, SerializableObject

from pipelines.messages import MessageId
from recon_core.errors import SessionError

_POLL_MS = 200


class Sender:
    """Sends messages over `connection`, from any thread, one whole message after the other.

    Every method raises SessionError when the peer has gone, or takes nothing for `timeout_s`; and from then
    on, since whatever followed the cut message would be read as its rest. So it does after CLOSE.
    """

    def __init__(self, connection: socket.socket, timeout_s: float) -> None:
        self._connection, self.timeout_s = connection, timeout_s
        self._lock = threading.RLock()
        self._ended = ""
        self._writable = select.poll()
        self._writable.register(connection, select.POLLOUT)

    def image(self, image: ismrmrd.Image) -> None:
        self.send(image)

    def text(self, text: str) -> None:
        self.send(text)

    def send(self, message: SerializableObject) -> None:
        """Send whatever ismrmrd can serialise; a plain string goes as TEXT."""
        self.write(_serialized(message))

    def response(self, number: int, answer: str) -> None:
        encoded = answer.encode()
        self.write(struct.pack("<HQQ", MessageId.RESPONSE, number, len(encoded)) + encoded)

    def dependencies(self, attributes: str) -> None:
        """The answer to a Gadgetron client that asks about noise scans."""
        encoded = attributes.encode()
        self.write(struct.pack("<HQ", MessageId.DEPENDENCY_QUERY, len(encoded)) + encoded)

    def close(self) -> None:
        with self._lock:
            self.write(struct.pack("<H", MessageId.CLOSE))
            self._ended = "connection: expected nothing after CLOSE, got more to send"

    def write(self, message: bytes | memoryview) -> None:
        """Send whole messages that are serialised already."""
        with self._lock:
            if self._ended:
                raise SessionError(self._ended)
            try:
                self._write(memoryview(message).cast("B"))
            except SessionError as error:
                self._ended = str(error)
                raise

    def _write(self, left: memoryview) -> None:
        last_progress = monotonic()
        while len(left) > 0:
            try:
                left = left[self._connection.send(left, socket.MSG_DONTWAIT) :]
                last_progress = monotonic()
            except BlockingIOError:
                if monotonic() - last_progress > self.timeout_s:
                    raise SessionError(
                        f"connection: expected the peer to receive, got no progress for "
                        f"{self.timeout_s:g} s; the peer has stopped reading"
                    ) from None
                self._writable.poll(_POLL_MS)
            except OSError as error:
                raise SessionError(f"connection: expected the peer to receive, got: {error}") from error


def _serialized(message: SerializableObject) -> bytes | memoryview:
    stream = io.BytesIO()
    ProtocolSerializer(stream).serialize(message)
    serialized: memoryview = stream.getbuffer()
    if isinstance(message, ismrmrd.Image) and message.data_type == ismrmrd.DATATYPE_INT:
        # ismrmrd keeps MRD's four-byte INT in eight, and would send eight.
        pixels: bytes = message.data.astype("<i4").tobytes()
        return bytes(serialized[: -message.data.nbytes]) + pixels
    return serialized
