"""A server for a test, and the check that it leaves nothing behind."""

import select
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep
from typing import Any

import ismrmrd

from pipelines.limits import Limits
from pipelines.messages import Close, ConfigFile, Header
from pipelines.recipe import recipe_by_name
from pipelines.reconstruction import reconstruct_scan
from pipelines.server import Server
from tests.pipelines import wire
from tests.pipelines.wire import RawClient


@contextmanager
def serving(journal: Path | None = None, **limits: Any) -> Iterator[Server]:
    """A server on a free port; after it, no thread and no descriptor is left."""
    before = footprint()
    with Server(port=0, journal=journal, limits=Limits(**({"linger_timeout_s": 3.0} | limits))) as server:
        yield server
    wait_for(before)


def footprint() -> tuple[int, int]:
    """How many threads and open descriptors this process has."""
    return threading.active_count(), len(list(Path("/proc/self/fd").iterdir()))


def wait_for(before: tuple[int, int]) -> None:
    """Return once the process is no larger than before."""
    deadline = monotonic() + wire.DEADLINE_S
    while any(now > then for now, then in zip(footprint(), before, strict=True)):
        assert monotonic() < deadline, (before, footprint(), threading.enumerate())
        sleep(0.005)


def offline(scan: list[bytes], **parameters: Any) -> list[ismrmrd.Image]:
    """The images of a scan given as messages, made without a server."""
    found = wire.messages(b"".join(scan))
    (name,) = (message.name for message in found if isinstance(message, ConfigFile))
    (header,) = (message for message in found if isinstance(message, Header))
    recipe = recipe_by_name(name).with_parameters(
        {key.replace("__", "."): v for key, v in parameters.items()}
    )
    data = [message for message in found if not isinstance(message, ConfigFile | Header | Close)]
    return list(reconstruct_scan(recipe, header.xml, data))


def content(image: ismrmrd.Image) -> tuple[bytes, bytes, str]:
    """An image as something that compares bit for bit."""
    head = image.getHead()
    head.attribute_string_len = 0  # filled in when sent
    return bytes(head), image.data.tobytes(), image.attribute_string


def contents(images: list[ismrmrd.Image]) -> list[Any]:
    return [content(image) for image in images]


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
