"""The MRD stream, version 1: bytes to messages. Sockets, stream files and journals are all read by this.

Each message is a little-endian u16 id and its payload; see docs/wire.md for the table, and
`pipelines.messages` for what the payloads become.
"""

import ctypes
import math
import struct
from collections.abc import Iterable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any
from xml.etree.ElementTree import ParseError

import ismrmrd
import ismrmrd.image
import ismrmrd.waveform
import numpy as np
import numpy.typing as npt

from gadgets.records import FLAG_BITS, HEADER_DTYPE, Readouts
from pipelines.chunks import HEADROOM, Chunk
from pipelines.limits import Limits
from pipelines.messages import (
    Close,
    ConfigFile,
    ConfigText,
    Header,
    MessageId,
    Query,
    Response,
    Text,
)
from recon_core.errors import SessionError, StreamError

ID_SIZE = 2
CONFIG_FILE_SIZE = 1024
_IMAGE_HEADER_SIZE = ctypes.sizeof(ismrmrd.image.ImageHeader)
_WAVEFORM_HEADER_SIZE = ctypes.sizeof(ismrmrd.waveform.WaveformHeader)
_PIXEL_DTYPES = {**ismrmrd.image.dtype_mapping, ismrmrd.DATATYPE_INT: np.dtype("<i4")}
"""By MRD data type; ismrmrd takes its INT for the machine's own, which has eight bytes."""
_COMPRESSED = np.uint64(sum(bit for name, bit in FLAG_BITS.items() if name.startswith("COMPRESSION")))
_SHAPE_FIELDS = ("number_of_samples", "active_channels", "trajectory_dimensions")


class MessageReader:
    """Cuts a stream of chunks into messages; neighbouring acquisitions of one shape come as one `Readouts`.

    Iterating ends where the bytes end between two messages, or after CLOSE. Raises StreamError, saying at
    which byte, for a stream cut inside a message, an unknown id, or a length beyond `limits`; SessionError
    when a message takes too long to arrive.
    """

    def __init__(self, chunks: Iterable[Chunk], limits: Limits | None = None) -> None:
        self._chunks = iter(chunks)
        self._limits = limits or Limits()
        self._buffer = memoryview(bytearray(HEADROOM))
        self._position = self._end = HEADROOM
        self._n_before_buffer = -HEADROOM
        self._message_offset = 0
        self._message_began_s: float | None = None

    @property
    def offset(self) -> int:
        """Bytes of the stream consumed so far."""
        return self._n_before_buffer + self._position

    def __iter__(self) -> Iterator[Any]:
        while True:
            self._message_began_s = None
            if not self._wait_for(ID_SIZE):
                break
            self._message_offset, self._message_began_s = self.offset, monotonic()
            (number,) = struct.unpack_from("<H", self._buffer, self._position)
            message = self._read(number)
            yield message
            if isinstance(message, Close):
                return
        if self._end > self._position:
            raise self._cut_off(ID_SIZE)

    def take(self, n_bytes: int, limit: int, what: str) -> memoryview:
        """The next `n_bytes`, held against `limit` first. Raises StreamError."""
        if n_bytes > limit:
            raise StreamError(
                f"stream, byte {self.offset}: expected {what} of at most {limit} bytes, got a length of "
                f"{n_bytes}; the stream is corrupt, or the limit must be raised"
            )
        if n_bytes > max(HEADROOM, self._end - self._position):
            return self._gathered(n_bytes)
        if not self._wait_for(n_bytes):
            raise self._cut_off(n_bytes)
        start = self._position
        self._position += n_bytes
        return self._buffer[start : self._position]

    def _gathered(self, n_bytes: int) -> memoryview:
        """A part of a message beyond the headroom, in memory that grows only as its bytes arrive."""
        gathered = bytearray()
        while len(gathered) < n_bytes:
            if self._position == self._end and not self._more():
                raise self._cut_off(n_bytes - len(gathered))
            n_taken = min(n_bytes - len(gathered), self._end - self._position)
            gathered += self._buffer[self._position : self._position + n_taken]
            self._position += n_taken
        return memoryview(gathered)

    def _wait_for(self, n_bytes: int) -> bool:
        """Whether `n_bytes`, at most the headroom, came to lie in one piece before the stream ended."""
        while self._end - self._position < n_bytes:
            if not self._more():
                return False
        return True

    def _more(self) -> bool:
        """Wait for another chunk and make it follow what is left."""
        chunk = next(self._chunks, None)
        if chunk is None:
            return False
        if chunk.buffer is not self._buffer:
            left = self._buffer[self._position : self._end]
            self._n_before_buffer += self._end - chunk.start
            self._buffer, self._position = chunk.buffer, chunk.start - len(left)
            self._buffer[self._position : chunk.start] = left
        self._end = chunk.end
        self._check_pace()
        return True

    def _check_pace(self) -> None:
        if self._message_began_s is None:
            return
        n_received = self._n_before_buffer + self._end - self._message_offset
        allowed_s = self._limits.message_timeout_s + n_received / 1e6
        if monotonic() - self._message_began_s > allowed_s:
            raise SessionError(
                f"stream, byte {self._message_offset}: expected a whole message within {allowed_s:.0f} s, "
                f"got {n_received} bytes of it; the peer is too slow or has vanished"
            )

    def _cut_off(self, n_bytes: int) -> StreamError:
        return StreamError(
            f"stream, byte {self.offset}: expected {n_bytes} more bytes of a message, got "
            f"{self._end - self._position} and the end; the sender stopped inside a message"
        )

    def _read(self, number: int) -> Any:
        match number:
            case MessageId.ACQUISITION:
                return self._readouts()
            case MessageId.IMAGE:
                return self._image()
            case MessageId.WAVEFORM:
                return self._waveform()
            case MessageId.CLOSE:
                self._skip_id()
                return Close()
            case MessageId.CONFIG_FILE:
                self._skip_id()
                name = self.take(CONFIG_FILE_SIZE, CONFIG_FILE_SIZE, "a recipe name")
                return ConfigFile(self._decoded(bytes(name).split(b"\0", 1)[0], "a recipe name"))
            case MessageId.CONFIG_TEXT:
                return ConfigText(self._string("<I", self._limits.xml_bytes, "a configuration"))
            case MessageId.HEADER:
                self._skip_id()
                return Header(self._prefixed("<I", self._limits.xml_bytes, "an MRD header").rstrip(b"\0"))
            case MessageId.TEXT:
                return Text(self._string("<I", self._limits.text_bytes, "a text"))
            case MessageId.ERROR:
                return Text(self._string("<Q", self._limits.text_bytes, "an error text"))
            case MessageId.QUERY:
                self._skip_id()
                _reserved, query = struct.unpack("<QQ", self.take(16, 16, "a query"))
                question = self._prefixed("<Q", self._limits.text_bytes, "a query")
                return Query(query, self._decoded(question, "a query"))
            case MessageId.RESPONSE:
                self._skip_id()
                (query,) = struct.unpack("<Q", self.take(8, 8, "a response"))
                answer = self._prefixed("<Q", self._limits.text_bytes, "a response")
                return Response(query, self._decoded(answer, "a response"))
        known = ", ".join(f"{member.value} {member.name}" for member in _READ)
        raise StreamError(
            f"stream, byte {self.offset}: expected a message id ({known}), got {number}; "
            f"the stream is corrupt or not MRD version 1"
        )

    def _skip_id(self) -> None:
        self._position += ID_SIZE

    def _string(self, length_format: str, limit: int, what: str) -> str:
        self._skip_id()
        return self._decoded(self._prefixed(length_format, limit, what), what)

    def _prefixed(self, length_format: str, limit: int, what: str) -> bytes:
        size = struct.calcsize(length_format)
        (length,) = struct.unpack(length_format, self.take(size, size, what))
        return bytes(self.take(length, limit, what))

    def _decoded(self, text: bytes, what: str) -> str:
        try:
            return text.rstrip(b"\0").decode()
        except UnicodeDecodeError as error:
            raise StreamError(
                f"stream, byte {self._message_offset}: expected {what} in UTF-8, got {error}; send UTF-8"
            ) from error

    def _readouts(self) -> Readouts:
        """All whole acquisitions of the next one's shape that have arrived, at least one."""
        head_size = ID_SIZE + HEADER_DTYPE.itemsize
        if not self._wait_for(head_size):
            raise self._cut_off(head_size)
        head = np.frombuffer(self._buffer, HEADER_DTYPE, 1, self._position + ID_SIZE)[0]
        if head["flags"] & _COMPRESSED:
            raise StreamError(
                f"stream, byte {self.offset}, scan counter {head['scan_counter']}: expected uncompressed "
                f"samples, got a compressed acquisition (flag 53 or 54); switch the sender's compression off"
            )
        n_samples, n_coils, n_dimensions = (int(head[name]) for name in _SHAPE_FIELDS)
        n_trajectory_bytes = 4 * n_samples * n_dimensions
        stride = head_size + n_trajectory_bytes + 8 * n_samples * n_coils
        what = f"an acquisition ({n_coils} channels of {n_samples} samples)"
        first = self.take(stride, self._limits.readout_bytes, what)
        rows = np.frombuffer(first, np.uint8).reshape(1, stride)
        if first.obj is self._buffer.obj:
            rows = self._alike(stride)
        data = np.empty((len(rows), n_coils, n_samples), np.complex64)
        data.reshape(len(rows), -1).view(np.uint8)[:] = rows[:, head_size + n_trajectory_bytes :]
        trajectory = rows[:, head_size : head_size + n_trajectory_bytes].copy().view(np.float32)
        return Readouts(
            headers=rows[:, ID_SIZE:head_size].copy().view(HEADER_DTYPE)[:, 0],
            data=data,
            trajectory=trajectory.reshape(len(rows), n_samples, n_dimensions),
        )

    def _alike(self, stride: int) -> npt.NDArray[np.uint8]:
        """Rows of bytes: the acquisition just taken and its equally shaped, uncompressed followers."""
        start = self._position - stride
        n_rows = (self._end - start) // stride
        rows = np.frombuffer(self._buffer, np.uint8, n_rows * stride, start).reshape(n_rows, stride)
        alike = np.all(rows[:, :ID_SIZE] == rows[0, :ID_SIZE], axis=1)
        for name in _SHAPE_FIELDS:
            at = ID_SIZE + getattr(ismrmrd.AcquisitionHeader, name).offset
            field = slice(at, at + getattr(ismrmrd.AcquisitionHeader, name).size)
            alike &= np.all(rows[:, field] == rows[0, field], axis=1)
        at = ID_SIZE + ismrmrd.AcquisitionHeader.flags.offset
        alike &= rows[:, at : at + 8].copy().view("<u8")[:, 0] & _COMPRESSED == 0
        if not alike.all():
            rows = rows[: int(np.argmin(alike))]
        self._position = start + len(rows) * stride
        return rows

    def _waveform(self) -> ismrmrd.Waveform:
        self._skip_id()
        head = bytes(self.take(_WAVEFORM_HEADER_SIZE, _WAVEFORM_HEADER_SIZE, "a waveform"))
        waveform = ismrmrd.waveform.WaveformHeader.from_buffer_copy(head)
        n_bytes = 4 * waveform.channels * waveform.number_of_samples
        samples = self.take(n_bytes, self._limits.waveform_bytes, "a waveform")
        return ismrmrd.Waveform.from_bytes(head + bytes(samples))

    def _image(self) -> ismrmrd.Image:
        self._skip_id()
        head = bytes(self.take(_IMAGE_HEADER_SIZE, _IMAGE_HEADER_SIZE, "an image"))
        header = ismrmrd.image.ImageHeader.from_buffer_copy(head)
        if header.data_type not in _PIXEL_DTYPES:
            raise StreamError(
                f"stream, byte {self._message_offset}: expected an image data type of "
                f"{sorted(_PIXEL_DTYPES)}, got {header.data_type}; the stream is corrupt"
            )
        attributes = self._attributes()
        n_pixels = header.channels * math.prod(header.matrix_size)
        dtype, limit = _PIXEL_DTYPES[header.data_type], self._limits.image_bytes
        pixels = self.take(n_pixels * dtype.itemsize, limit, f"an image of {n_pixels} pixels")
        image = ismrmrd.Image(head, meta=attributes)
        image.data[:] = np.frombuffer(pixels, dtype).reshape(image.data.shape)
        return image

    def _attributes(self) -> ismrmrd.Meta:
        attributes = self._prefixed("<Q", self._limits.xml_bytes, "image attributes")
        text = self._decoded(attributes, "image attributes")
        if "<!DOCTYPE" not in text:
            with suppress(ParseError, AssertionError):  # which is how ismrmrd refuses other elements
                return ismrmrd.Meta.deserialize(text)
        raise StreamError(
            f"stream, byte {self._message_offset}: expected image attributes as <ismrmrdMeta> without a "
            f"document type, got {text[:80]!r}; correct them"
        )


_READ = [
    member
    for member in MessageId
    if member not in (MessageId.RECON_DATA, MessageId.IMAGE_ARRAY, MessageId.BUCKET)
]
