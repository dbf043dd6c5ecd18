"""What a session costs: an empty one, the wait after the last readout, and memory over a hundred scans.

python -m benchmarks.serving
"""

import io
import socket
import statistics
import struct
from time import perf_counter
from typing import Any

from benchmarks.machine import write_results
from benchmarks.server_process import ServerProcess, running_server
from benchmarks.wire_scan import WireScan, exchange, wire_scan
from gadgets.records import Readouts
from pipelines.chunks import chunks_of
from pipelines.messages import Close, MessageId
from pipelines.recipe import recipe_by_name
from pipelines.reconstruction import reconstruct_scan
from pipelines.stream import MessageReader
from recon_core.simulate import simulate_acquisition

RECIPE = "cartesian_fft"


def main() -> None:
    scan = wire_scan(simulate_acquisition((256, 256), 8).kspace[:, :, 0].numpy())
    with running_server() as server:
        exchange(server.port, scan, RECIPE)
        figures = {
            "empty_session_ms": milliseconds([empty_session(server.port) for _ in range(20)]),
            "after_last_readout": after_last_readout(server, scan),
            "memory": memory_over_scans(server, scan),
        }
    write_results("serving", figures)


def empty_session(port: int) -> float:
    """Configuration, then CLOSE: what a client does that only asks for a noise dependency."""
    begin = perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(struct.pack("<H1024sH", MessageId.CONFIG_FILE, RECIPE.encode(), MessageId.CLOSE))
        assert any(isinstance(m, Close) for m in MessageReader(chunks_of(connection.recv_into)))
        return perf_counter() - begin


def after_last_readout(server: ServerProcess, scan: WireScan) -> dict[str, float]:
    """From the last readout sent to the image received, and the same reconstruction without a server."""
    waits = []
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", server.port)) as connection:
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            messages = iter(MessageReader(chunks_of(connection.recv_into)))
            stride = len(scan.data) // scan.n_readouts
            connection.sendall(scan.message_bytes(RECIPE) + scan.data[:-stride])
            begin = perf_counter()
            connection.sendall(scan.data[-stride:])
            next(messages)
            waits.append(perf_counter() - begin)
            connection.sendall(struct.pack("<H", MessageId.CLOSE))
            next(messages)
    server.forget_journals()
    return {"server_ms": milliseconds(waits), "reconstruction_ms": milliseconds(offline_seconds(scan))}


def offline_seconds(scan: WireScan) -> list[float]:
    """The whole recipe over readouts in memory, in this process."""
    stream = io.BytesIO(scan.data)
    items = [m for m in MessageReader(chunks_of(stream.readinto)) if isinstance(m, Readouts)]
    seconds = []
    for _ in range(20):
        begin = perf_counter()
        assert len(list(reconstruct_scan(recipe_by_name(RECIPE), scan.header_xml, items))) == 1
        seconds.append(perf_counter() - begin)
    return seconds


def memory_over_scans(server: ServerProcess, scan: WireScan) -> dict[str, Any]:
    """Resident memory after 10, 50 and 100 scans."""
    resident = {}
    for number in range(1, 101):
        exchange(server.port, scan, RECIPE)
        server.forget_journals()
        if number in (10, 50, 100):
            resident[f"mb_after_{number}_scans"] = round(server.resident_mb(), 1)
    return resident


def milliseconds(seconds: list[float]) -> float:
    return round(1000 * statistics.median(seconds), 2)


if __name__ == "__main__":
    main()
