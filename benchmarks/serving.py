"""What a session costs: an empty one, the wait after the last readout, and memory over a hundred scans.

python -m benchmarks.serving
"""

import io
import socket
import statistics
import struct
from concurrent.futures import ThreadPoolExecutor
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
    figures: dict[str, Any] = {}
    with running_server() as server:
        exchange(server.port, scan, RECIPE)
        figures["empty_session_ms"] = milliseconds([empty_session(server.port) for _ in range(20)])
    figures["reconstruction_ms"] = milliseconds(offline_seconds(scan))
    for n_clients in (1, 8):
        with running_server() as server:
            exchange(server.port, scan, RECIPE)
            figures[f"{n_clients} at once"] = {
                "last_readout_to_image_ms": after_last_readout(server, scan, n_clients),
                "resident_mb": memory_over_scans(server, scan, n_clients),
            }
    write_results("serving", figures)


def empty_session(port: int) -> float:
    """Configuration, then CLOSE: what a client does that only asks for a noise dependency."""
    begin = perf_counter()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(struct.pack("<H1024sH", MessageId.CONFIG_FILE, RECIPE.encode(), MessageId.CLOSE))
        assert any(isinstance(m, Close) for m in MessageReader(chunks_of(connection.recv_into)))
        return perf_counter() - begin


def after_last_readout(server: ServerProcess, scan: WireScan, n_clients: int) -> float:
    """From the last readout sent to the image received, the median over all clients."""
    with ThreadPoolExecutor(n_clients) as clients:
        waits = list(clients.map(lambda _: wait_after_last(server.port, scan), range(24)))
    server.forget_journals()
    return milliseconds(waits)


def wait_after_last(port: int, scan: WireScan) -> float:
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        messages = iter(MessageReader(chunks_of(connection.recv_into)))
        stride = len(scan.data) // scan.n_readouts
        connection.sendall(scan.message_bytes(RECIPE) + scan.data[:-stride])
        begin = perf_counter()
        connection.sendall(scan.data[-stride:])
        next(messages)
        seconds = perf_counter() - begin
        connection.sendall(struct.pack("<H", MessageId.CLOSE))
        next(messages)
        return seconds


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


def memory_over_scans(server: ServerProcess, scan: WireScan, n_clients: int) -> dict[str, float]:
    """Resident memory after so many scans, `n_clients` at a time."""
    resident = {}
    with ThreadPoolExecutor(n_clients) as clients:
        for n_scans in range(n_clients, 105, n_clients):
            list(clients.map(lambda _: exchange(server.port, scan, RECIPE), range(n_clients)))
            server.forget_journals()
            if n_scans // n_clients in (2, 52 // n_clients, 104 // n_clients):
                resident[f"after {n_scans} scans"] = round(server.resident_mb(), 1)
    return resident


def milliseconds(seconds: list[float]) -> float:
    return round(1000 * statistics.median(seconds), 2)


if __name__ == "__main__":
    main()
