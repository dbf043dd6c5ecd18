"""How fast SPIRiT calibrates and reconstructs a slice, beside the same method made of pygrappa and SigPy.

    python -m benchmarks.spirit --peer PYTHON     (an interpreter with pygrappa and sigpy installed)

No package that could be run here has SPIRiT whole: BART, SigPy and pygrappa have none, Lustig's toolbox is
for MATLAB. The peer is what public research code does instead: pygrappa's port of Lustig's calibration, then
numpy and SigPy's transforms for the same projections. The product with G is its `sum` there; `einsum` and
`matmul` are faster forms of it.

One thread each and its processor time, so that a busy machine counts little. A slice of 8 coils × 256 × 256,
kernel 7, 24 x 24 calibration samples, 30 iterations, both with the same threshold. SigPy's wavelet is neither
periodic nor shifted, so that images agree closely with a threshold, and to rounding without.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
from time import process_time
from typing import Any

import numpy as np
import torch

from benchmarks.machine import median_ms, write_results
from recon_core.coils.spirit_kernel import spirit_kernel
from recon_core.fourier import ifft, resize
from recon_core.masks import equispaced_lines, poisson_disc
from recon_core.metrics import nrmse
from recon_core.simulate import simulate_acquisition
from recon_core.spirit import l1_spirit

MATRIX = (256, 256)
N_CALIBRATION = 24
WIDTH, TIKHONOV = 7, 1e-2
N_ITERATIONS = 30
THRESHOLD = 2e-3

PEER = """
import json, sys, time
import numpy as np, sigpy as sp
from pygrappa.lustig_grappa import calibrate, dat2AtA

folder, width, tikhonov, n_iterations = sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4])
data = np.load(folder + "/in.npz")
kspace, mask, calibration = data["kspace"], data["mask"], np.moveaxis(data["calibration"], 0, -1)
n, shape = len(kspace), kspace.shape[1:]

def matrices():
    gram = dat2AtA(calibration, (width, width))
    ks = [calibrate(gram, (width, width), n, c, tikhonov, np.ones((width, width, n)))[0] for c in range(n)]
    kernel = np.stack([k.transpose(2, 0, 1) for k in ks]).astype(np.complex64)[..., ::-1, ::-1]
    image = sp.ifft(sp.resize(kernel, (n, n, *shape)), axes=(-2, -1))
    return image * np.float32(np.sqrt(shape[0] * shape[1]))

def pocs(G, threshold, product):
    W = sp.linop.Wavelet(kspace.shape, axes=(-2, -1), wave_name="db4")
    ops = {"sum": lambda x: np.sum(G * x, axis=1),
           "einsum": lambda x: np.einsum("ijyx,jyx->iyx", G, x),
           "matmul": lambda x: np.moveaxis((Gp @ np.moveaxis(x, 0, -1)[..., None])[..., 0], -1, 0)}
    if product == "matmul":
        Gp = np.ascontiguousarray(np.moveaxis(G, (0, 1), (-2, -1)))
    y = kspace
    for _ in range(n_iterations):
        y = np.where(mask, kspace, sp.fft(ops[product](sp.ifft(y, axes=(-2, -1))), axes=(-2, -1)))
        if threshold:
            w = W(sp.ifft(y, axes=(-2, -1)))
            size = np.sqrt(np.sum(np.abs(w) ** 2, axis=0))
            w = w * (np.maximum(size - threshold, 0) / np.maximum(size, 1e-30))
            y = np.where(mask, kspace, sp.fft(W.H(w), axes=(-2, -1)))
    return y

def timed(f):
    start = time.process_time()
    result = f()
    return result, time.process_time() - start

G, _ = timed(matrices)
threshold = float(data["threshold"])
figures = {"calibrate_s": [timed(matrices)[1] for _ in range(3)]}
for product in ("sum", "einsum", "matmul"):
    figures[product] = [timed(lambda: pocs(G, threshold, product))[1] for _ in range(3)]
np.savez(folder + "/out.npz", plain=pocs(G, 0, "matmul"), l1=pocs(G, threshold, "matmul"))
print(json.dumps(figures))
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--peer", required=True, help="a Python interpreter with pygrappa and sigpy installed"
    )
    arguments = parser.parse_args()
    torch.set_num_threads(1)

    scan = simulate_acquisition(MATRIX, 8, oversampling=1)
    kspace = scan.kspace[0][:, 0]
    masks = {
        "every fourth line and 24 calibration lines": equispaced_lines(MATRIX, 4, offset=0),
        "Poisson disc, acceleration 4": poisson_disc(MATRIX, 4),
    }
    write_results("spirit", {name: compared(kspace, mask, arguments.peer) for name, mask in masks.items()})


def compared(kspace: torch.Tensor, sampled: torch.Tensor, python: str) -> dict[str, Any]:
    calibration = resize(kspace, (N_CALIBRATION, N_CALIBRATION))
    undersampled, mask = (kspace * sampled)[None], sampled.expand(MATRIX)[None]
    threshold = THRESHOLD * float(ifft(undersampled, (-2, -1)).abs().max())

    def calibrated() -> torch.Tensor:
        return spirit_kernel(calibration, WIDTH, TIKHONOV)[None]

    def reconstructed(kernel: torch.Tensor, regularisation: float = THRESHOLD) -> torch.Tensor:
        return l1_spirit(undersampled, mask, kernel, n_iterations=N_ITERATIONS, regularisation=regularisation)

    with tempfile.TemporaryDirectory() as folder:
        np.savez(
            f"{folder}/in.npz",
            kspace=undersampled[0].numpy(),
            mask=mask[0].numpy(),
            calibration=calibration.numpy(),
            threshold=threshold,
        )
        command = [python, "-c", PEER, folder, str(WIDTH), str(TIKHONOV), str(N_ITERATIONS)]
        one_thread = {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=one_thread)
        theirs = json.loads(done.stdout.splitlines()[-1])
        images = {name: torch.from_numpy(array)[None] for name, array in np.load(f"{folder}/out.npz").items()}

    kernel = calibrated()
    ours_ms = median_ms(lambda: reconstructed(calibrated()), clock=process_time)
    theirs_ms = {part: 1e3 * statistics.median(times_s) for part, times_s in theirs.items()}
    their_calibration_ms = theirs_ms.pop("calibrate_s")
    return {
        "calibrate_and_reconstruct_ms": round(ours_ms, 1),
        "ratio_to_peer_by_its_product_with_G": {
            product: round((their_calibration_ms + ms) / ours_ms, 1) for product, ms in theirs_ms.items()
        },
        "parts_ms": {
            "calibrate": round(median_ms(calibrated, clock=process_time), 1),
            "peer calibrate": round(their_calibration_ms, 1),
            "reconstruct": round(median_ms(lambda: reconstructed(kernel), clock=process_time), 1),
            **{f"peer reconstruct, {product}": round(ms, 1) for product, ms in theirs_ms.items()},
        },
        "nrmse_to_peer_without_threshold": round(nrmse(reconstructed(kernel, 0.0), images["plain"]), 5),
        "nrmse_to_peer": round(nrmse(reconstructed(kernel), images["l1"]), 5),
        "nrmse_to_full_sampling": round(nrmse(reconstructed(kernel), kspace[None]), 4),
        "peer_nrmse_to_full_sampling": round(nrmse(images["l1"], kspace[None]), 4),
    }


if __name__ == "__main__":
    main()
