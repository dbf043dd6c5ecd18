"""MRD messages as bytes, built here field by field and not by the code under test; and a raw client."""

import socket
import struct
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Self

import ismrmrd
import numpy as np
import numpy.typing as npt
from ismrmrd.constants import ACQ_LAST_IN_SLICE

from gadgets.records import HEADER_DTYPE, Readouts
from pipelines.chunks import CAPACITY, HEADROOM, Chunk, chunks_of
from pipelines.messages import Close, Text
from pipelines.stream import MessageReader

CLOSE = struct.pack("<H", 4)
DEADLINE_S = 30.0
"""What no step of a test takes on the slowest machine."""
N = 8
"""Encoded matrix, lines, and samples of `header_xml` and `scan`."""
N_COILS = 2


def config_file(name: str | bytes) -> bytes:
    return struct.pack("<H1024s", 1, name.encode() if isinstance(name, str) else name)


def prefixed(number: int, text: str | bytes, length: int | None = None) -> bytes:
    """CONFIG_TEXT (2), HEADER (3) or TEXT (5), whose length field may lie."""
    text = text.encode() if isinstance(text, str) else text
    return struct.pack("<HI", number, len(text) if length is None else length) + text


def query(question: str | bytes, number: int = 1, length: int | None = None) -> bytes:
    question = question.encode() if isinstance(question, str) else question
    return struct.pack("<HQQQ", 6, 0, number, len(question) if length is None else length) + question


def acquisition(
    data: npt.NDArray[np.complex64], trajectory: npt.NDArray[np.float32] | None = None, **fields: Any
) -> bytes:
    """One readout of `data` (coil, sample); `fields` go to its header, counters to `idx`."""
    head = np.zeros((), HEADER_DTYPE)
    head["active_channels"], head["number_of_samples"] = data.shape
    head["center_sample"] = data.shape[1] // 2
    head["sample_time_us"] = 5
    head["read_dir"], head["phase_dir"], head["slice_dir"] = np.eye(3)
    head["trajectory_dimensions"] = 0 if trajectory is None else trajectory.shape[1]
    for name, value in fields.items():
        (head["idx"] if name in (head["idx"].dtype.names or ()) else head)[name] = value
    points = b"" if trajectory is None else trajectory.astype("<f4").tobytes()
    return struct.pack("<H", 1008) + head.tobytes() + points + data.astype("<c8").tobytes()


def waveform(samples: npt.NDArray[np.uint32], **fields: int) -> bytes:
    names = ("version", "flags", "measurement_uid", "scan_counter", "time_stamp")
    channels, n_samples = samples.shape
    head = [fields.get(name, 0) for name in names]
    return struct.pack("<HH6xQIIIHHfH2x", 1026, *head, n_samples, channels, 2.5, 0) + samples.tobytes()


def image(pixels: npt.NDArray[Any], data_type: int, attributes: str | bytes = b"") -> bytes:
    """An image of `pixels` (channel, z, y, x)."""
    attributes = attributes.encode() if isinstance(attributes, str) else attributes
    channels, *zyx = pixels.shape
    head = struct.pack("<HHQI3H3fH", 1, data_type, 0, 0, *reversed(zyx), 1, 1, 1, channels)
    head += bytes(198 - 4 - len(head)) + struct.pack("<I", len(attributes))
    return struct.pack("<H", 1022) + head + struct.pack("<Q", len(attributes)) + attributes + pixels.tobytes()


def header_xml(*, n: int = N, n_slices: int = 1, extra: str = "") -> bytes:
    space = (
        f"<matrixSize><x>{n}</x><y>{n}</y><z>1</z></matrixSize>"
        "<fieldOfView_mm><x>200</x><y>200</y><z>5</z></fieldOfView_mm>"
    )
    step = f"<minimum>0</minimum><maximum>{n - 1}</maximum><center>{n // 2}</center>"
    slices = f"<minimum>0</minimum><maximum>{n_slices - 1}</maximum><center>0</center>"
    return (
        f'<?xml version="1.0"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">{extra}'
        "<experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz>"
        f"</experimentalConditions><encoding><encodedSpace>{space}</encodedSpace>"
        f"<reconSpace>{space}</reconSpace><encodingLimits>"
        f"<kspace_encoding_step_1>{step}</kspace_encoding_step_1><slice>{slices}</slice></encodingLimits>"
        "<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
    ).encode()


def lines(seed: int = 0, *, n: int = N, n_slices: int = 1, n_coils: int = N_COILS) -> list[bytes]:
    """The readouts of a whole scan of noise, the last line of each slice flagged."""
    samples = np.random.default_rng(seed).standard_normal((n_slices, n, n_coils, n, 2))
    data = samples.astype(np.float32).view(np.complex64)[..., 0]
    last = 1 << (ACQ_LAST_IN_SLICE - 1)
    return [
        acquisition(
            data[number, line],
            scan_counter=1 + number * n + line,
            kspace_encode_step_1=line,
            slice=number,
            flags=last if line == n - 1 else 0,
        )
        for number in range(n_slices)
        for line in range(n)
    ]


def scan(seed: int = 0, *, recipe: str = "cartesian_fft", n_slices: int = 1) -> list[bytes]:
    """A whole scan, message by message."""
    header = prefixed(3, header_xml(n_slices=n_slices))
    return [config_file(recipe), header, *lines(seed, n_slices=n_slices), CLOSE]


def chunks(stream: bytes, sizes: Sequence[int] = ()) -> Iterator[Chunk]:
    """The stream as a socket might deliver it: pieces of these sizes, then the rest."""
    cuts = [*sizes, max(1, len(stream))]
    position = 0

    def read_into(room: memoryview) -> int:
        nonlocal position
        size = min(cuts.pop(0) if len(cuts) > 1 else cuts[0], len(room), len(stream) - position)
        room[:size] = stream[position : position + size]
        position += size
        return size

    return chunks_of(read_into)


def fresh_chunks(stream: bytes, size: int) -> Iterator[Chunk]:
    """The stream in pieces of `size`, each in a buffer of its own, as after many full ones."""
    for start in range(0, len(stream), size):
        piece = stream[start : start + size]
        buffer = memoryview(bytearray(HEADROOM + min(size, CAPACITY)))
        buffer[HEADROOM : HEADROOM + len(piece)] = piece
        yield Chunk(buffer, HEADROOM, HEADROOM + len(piece))


def messages(stream: bytes) -> list[Any]:
    """The messages of a stream, blocks of readouts taken apart into single ones."""
    return list(single(MessageReader(chunks(stream))))


def single(found: Iterable[Any]) -> Iterator[Any]:
    for message in found:
        if isinstance(message, Readouts):
            yield from (message.select(slice(i, i + 1)) for i in range(len(message)))
        else:
            yield message


class RawClient:
    """A client that sends whatever bytes it is told to."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.settimeout(DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def send(self, *parts: bytes) -> None:
        self.socket.sendall(b"".join(parts))

    def end(self) -> None:
        """Send no more, but listen on."""
        self.socket.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Vanish without a word, as a crashed program does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def messages(self) -> list[Any]:
        """What the server says until it closes the connection, which must follow CLOSE at once."""
        received = bytearray()
        while piece := self.socket.recv(1 << 16):
            received += piece
        found = messages(bytes(received))
        assert isinstance(found[-1], Close), found
        assert received.endswith(CLOSE)
        return found[:-1]

    def error(self) -> str:
        """The one TEXT of a server that refuses: after images perhaps, with nothing after it but CLOSE."""
        *images, message = self.messages()
        assert all(isinstance(image, ismrmrd.Image) for image in images)
        assert isinstance(message, Text)
        assert message.text.startswith("ERROR ")
        return message.text
