"""How fast GRAPPA fills and combines a slice, beside pygrappa on the same data in the same run.

    python -m benchmarks.grappa --pygrappa PYTHON     (an interpreter with pygrappa installed)

One slice of 16 coils × 256 × 256, acceleration 2, 24 calibration lines, kernel 4 × 5 (theirs 5 × 5), weights
calibrated anew.
"""

import argparse
import json
import statistics
import subprocess
import tempfile

import numpy as np
import torch

from benchmarks.machine import median_ms, write_results
from recon_core.fourier import ifft, resize
from recon_core.grappa import apply_grappa, grappa_weights, unmix, unmixing
from recon_core.masks import equispaced_lines
from recon_core.metrics import nrmse
from recon_core.simulate import simulate_acquisition

RATE = (1, 2)
N_CALIBRATION = 24

PEER = """
import json, sys, time
import numpy as np
from pygrappa import mdgrappa
folder, times = sys.argv[1], []
data = np.load(folder + "/in.npz")
for _ in range(3):
    start = time.perf_counter()
    filled = mdgrappa(data["kspace"], data["calibration"], kernel_size=(5, 5), coil_axis=0)
    times.append(time.perf_counter() - start)
np.save(folder + "/out.npy", np.asarray(filled, dtype=np.complex64))
print(json.dumps(times))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pygrappa", required=True, help="a Python interpreter with pygrappa installed")
    arguments = parser.parse_args()

    scan = simulate_acquisition((256, 256), 16, oversampling=1)
    whitening = torch.linalg.inv(torch.linalg.cholesky(scan.covariance))
    kspace, coil_maps = (
        torch.einsum("ij,j...->i...", whitening, a[0]) for a in (scan.kspace, scan.coil_maps)
    )
    sampled = equispaced_lines((256, 1), RATE[1], n_calibration=N_CALIBRATION, offset=0).T
    undersampled = kspace * sampled[..., None]
    calibration = resize(kspace, (1, N_CALIBRATION, 256))
    full = torch.linalg.vector_norm(ifft(kspace), dim=0)

    def error(filled: torch.Tensor) -> float:
        return nrmse(torch.linalg.vector_norm(ifft(filled), dim=0), full)

    their_times_s, their_kspace = _run_peer(arguments.pygrappa, undersampled[:, 0], calibration[:, 0])
    weights = grappa_weights(calibration, RATE)
    coefficients = unmixing(weights, coil_maps)
    ours_ms = median_ms(lambda: apply_grappa(grappa_weights(calibration, RATE), undersampled, sampled))
    theirs_ms = 1e3 * statistics.median(their_times_s)
    figures = {
        "data": "simulated head, 16 coils x 256 x 256, R = 2, 24 calibration lines of 256 samples",
        "calibrate_and_fill_ms": round(ours_ms, 1),
        "pygrappa_mdgrappa_ms": round(theirs_ms, 1),
        "ratio": round(theirs_ms / ours_ms, 1),
        "nrmse": round(error(apply_grappa(weights, undersampled, sampled)), 4),
        "pygrappa_nrmse": round(error(their_kspace[:, None]), 4),
        "parts_ms": {
            "calibrate": round(median_ms(lambda: grappa_weights(calibration, RATE)), 1),
            "fill": round(median_ms(lambda: apply_grappa(weights, undersampled, sampled)), 1),
            "unmixing_coefficients": round(median_ms(lambda: unmixing(weights, coil_maps)), 1),
            "combined_image": round(median_ms(lambda: unmix(coefficients, undersampled, sampled, RATE)), 1),
        },
    }
    write_results("grappa", figures)


def _run_peer(
    python: str, kspace: torch.Tensor, calibration: torch.Tensor
) -> tuple[list[float], torch.Tensor]:
    """Seconds of each run, and the k-space filled."""
    with tempfile.TemporaryDirectory() as folder:
        np.savez(f"{folder}/in.npz", kspace=kspace.numpy(), calibration=calibration.numpy())
        done = subprocess.run([python, "-c", PEER, folder], check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout.splitlines()[-1]), torch.from_numpy(np.load(f"{folder}/out.npy"))


if __name__ == "__main__":
    main()
