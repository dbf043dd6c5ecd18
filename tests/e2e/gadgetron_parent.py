"""Gadgetron's side of an `<external>` node, as its core speaks it."""

import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

import ismrmrd
import numpy as np
from gadgetron.external import writers
from gadgetron.external.connection import Connection
from gadgetron.types.image_array import ImageArray, write_image_array
from gadgetron.types.recon_data import ReconData, write_recon_data

CONFIG, HEADER, CLOSE, ERROR, IMAGE, BUCKET = 2, 3, 4, 8, 1022, 1050
TIMEOUT_S = 60.0


@dataclass
class Answer:
    """What the child said before it closed."""

    images: list[ismrmrd.Image] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    closed: bool = False


class Parent:
    """One connection to a child. `write` and `read` make it what gadgetron's own writers and readers take."""

    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.connection.settimeout(TIMEOUT_S)

    def write(self, data: Any) -> None:
        self.connection.sendall(data)

    def read(self, n_bytes: int) -> bytes:
        received = bytearray()
        while len(received) < n_bytes:
            piece = self.connection.recv(n_bytes - len(received))
            if not piece:
                raise EOFError(f"the child hung up {n_bytes - len(received)} bytes early")
            received += piece
        return bytes(received)

    def begin(self, configuration: str, header_xml: bytes) -> None:
        for number, text in ((CONFIG, configuration.encode()), (HEADER, header_xml)):
            self.write(struct.pack("<HI", number, len(text)) + text)

    def send(self, item: Any) -> None:
        if isinstance(item, ismrmrd.Acquisition):
            writers.write_acquisition(self, item)
        elif isinstance(item, ismrmrd.Image):
            writers.write_image(self, item)
        elif isinstance(item, ismrmrd.Waveform):
            writers.write_waveform(self, item)
        elif isinstance(item, ReconData):
            write_recon_data(self, item)
        elif isinstance(item, ImageArray):
            write_image_array(self, item)
        else:
            self.write(item)

    def end(self) -> None:
        self.write(struct.pack("<H", CLOSE))

    def answer(self) -> Answer:
        """Everything up to CLOSE. As in the core, an ERROR makes the parent close its own side at once."""
        answer = Answer()
        while True:
            (number,) = struct.unpack("<H", self.read(2))
            if number == CLOSE:
                answer.closed = True
                self.connection.close()
                return answer
            if number == ERROR:
                (length,) = struct.unpack("<Q", self.read(8))
                answer.errors.append(self.read(length).decode())
                self.end()
            elif number == IMAGE:
                answer.images.append(ismrmrd.Image.deserialize_from(self.read))
            else:
                raise AssertionError(f"a core would not take message {number}")

    def converse(self, configuration: str, header_xml: bytes, items: Iterable[Any]) -> Answer:
        """A whole session. Answers are read while items are sent, as the core does."""
        self.begin(configuration, header_xml)
        answers: list[Answer] = []
        reader = threading.Thread(target=lambda: answers.append(self.answer()), daemon=True)
        reader.start()
        try:
            for item in items:
                self.send(item)
            self.end()
        except OSError:
            pass  # the child gave up: its answer says why
        reader.join(TIMEOUT_S)
        assert answers, "the child neither answered nor closed"
        return answers[0]


def with_child_thread(target: Callable[[Any], None]) -> Parent:
    """A parent whose child runs in this process: gadgetron's own connection around `target`."""
    with _listener() as listener:
        theirs = socket.create_connection(listener.getsockname())
        ours, _ = listener.accept()

    def child() -> None:
        with Connection(theirs) as connection:
            target(connection)

    threading.Thread(target=child, daemon=True).start()
    return Parent(ours)


def with_child_process() -> tuple[Parent, "subprocess.Popen[bytes]"]:
    """A parent that starts its child as the core does."""
    with _listener() as listener:
        port = str(listener.getsockname()[1])
        child = subprocess.Popen([sys.executable, "-m", "gadgetron", port, "gadgets.external", "recipe"])
        connection, _ = listener.accept()
    return Parent(connection), child


def _listener() -> socket.socket:
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(TIMEOUT_S)
    return listener


def bucket_bytes(
    data: list[ismrmrd.Acquisition],
    reference: list[ismrmrd.Acquisition],
    waveforms: list[ismrmrd.Waveform] | None = None,
) -> bytes:
    """Message 1050 as the core's AcquisitionBucketWriter lays it out."""
    waveforms = waveforms or []
    bundles = [_bundle(data), _bundle(reference)]
    heads = b"".join(bytes(w.getHead()) for w in waveforms)
    samples = b"".join(w.data.astype(np.uint32).tobytes() for w in waveforms)
    sizes = []
    for acquisitions, parts in zip((data, reference), bundles, strict=True):
        sizes += [len(acquisitions), len(parts[0]), len(parts[2]), len(parts[1])]
    sizes += [len(parts[3]) for parts in bundles]
    sizes += [len(waveforms), len(heads), len(samples)]
    body = b"".join(part for parts in bundles for part in parts)
    return struct.pack("<H13Q", BUCKET, *sizes) + body + heads + samples


def _bundle(acquisitions: list[ismrmrd.Acquisition]) -> tuple[bytes, bytes, bytes, bytes]:
    """Headers, trajectories, samples, and statistics: for one encoding space, nine sets of counters seen."""
    counters = ("kspace_encode_step_1", "kspace_encode_step_2", "slice", "phase", "contrast")
    counters += ("repetition", "set", "segment", "average")
    statistics = struct.pack("<Q", 1 if acquisitions else 0)
    for name in counters if acquisitions else ():
        seen = sorted({getattr(a.idx, name) for a in acquisitions})
        statistics += struct.pack(f"<Q{len(seen)}H", len(seen), *seen)
    return (
        b"".join(bytes(a.getHead()) for a in acquisitions),
        b"".join(a.traj.tobytes() for a in acquisitions),
        b"".join(a.data.astype(np.complex64).tobytes() for a in acquisitions),
        statistics,
    )
