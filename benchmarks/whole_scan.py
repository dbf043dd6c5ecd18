"""Whole scans through the server: first byte sent to last image received, and where the time goes.

    python -m benchmarks.whole_scan

16 coils, 512 x 256, 20 slices, noise scan included, journal on: the data of the Gadgetron figures that are
stated beside ours. Those come from another machine of the same kind, so hold the two machines' matrix-product
and copy rates against each other.
"""

import statistics
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ismrmrd
import numpy as np

from benchmarks.machine import write_results
from benchmarks.server_process import ServerProcess, running_server
from benchmarks.wire_scan import WireScan, exchange, wire_scan
from recon_core.simulate import simulate_acquisition

N_SLICES = 20
RECIPES = {
    "cartesian_fft": 1,
    "cartesian_grappa": 2,
    "cartesian_sense": 2,
    "cartesian_wavelet": 2,
}
"""Recipe to acceleration."""
GADGETRON_S = {"cartesian_fft": 0.73, "cartesian_grappa": 6.2}
"""Gadgetron 4.7.2: default.xml and Generic_Cartesian_Grappa.xml."""


def main() -> None:
    kspace = simulated_slices()
    figures: dict[str, Any] = {}
    for recipe, acceleration in RECIPES.items():
        scan = wire_scan(kspace, acceleration=acceleration)
        with running_server() as server:
            figures[recipe] = timed(server, scan, recipe, n_runs=5 if recipe in GADGETRON_S else 2)
            figures[recipe]["acceleration"] = acceleration
            if recipe == "cartesian_fft":
                figures["sessions_at_once_s"] = at_once(server, scan, recipe)
    write_results("whole_scan", figures)


def simulated_slices() -> np.ndarray:
    """`(slice, coil, ky, kx)`: one simulated slice of 256 lines, repeated with fresh noise."""
    scan = simulate_acquisition((256, 256), 16, snr=40)
    rng = np.random.default_rng(0)
    slices = np.repeat(scan.kspace[:, :, 0].numpy(), N_SLICES, axis=0)
    noise = rng.standard_normal((*slices.shape, 2), np.float32).view(np.complex64)[..., 0]
    return slices + noise * float(scan.covariance[0, 0].real) ** 0.5 * 0.1


def timed(server: ServerProcess, scan: WireScan, recipe: str, n_runs: int) -> dict[str, Any]:
    seconds, after_last = [], []
    for _ in range(n_runs):
        total, received = exchange(server.port, scan, recipe)
        images = [at for at, message in received if isinstance(message, ismrmrd.Image)]
        assert len(images) == N_SLICES, f"{len(images)} images"
        seconds.append(total)
        after_last.append(total - images[0])
        server.forget_journals()
    median = statistics.median(seconds)
    figures: dict[str, Any] = {
        "seconds": [round(s, 3) for s in seconds],
        "median_s": round(median, 3),
        "seconds_per_slice": round(median / N_SLICES, 4),
        "first_to_last_image_s": round(statistics.median(after_last), 3),
        "peak_mb": round(server.peak_mb()),
    }
    if recipe in GADGETRON_S:
        figures["gadgetron_s"] = GADGETRON_S[recipe]
        figures["times_faster_than_gadgetron"] = round(GADGETRON_S[recipe] / median, 2)
    return figures


def at_once(server: ServerProcess, scan: WireScan, recipe: str) -> dict[str, float]:
    """Seconds until the last of several simultaneous sessions has its images."""
    seconds = {}
    for n_sessions in (1, 2, 4):
        runs = []
        for _ in range(3):
            with ThreadPoolExecutor(n_sessions) as clients:
                took = clients.map(lambda _: exchange(server.port, scan, recipe)[0], range(n_sessions))
                runs.append(max(took))
            server.forget_journals()
        seconds[str(n_sessions)] = round(statistics.median(runs), 3)
    return seconds


if __name__ == "__main__":
    main()
