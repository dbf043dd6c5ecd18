"""CG-SENSE and L1-wavelet SENSE against SigPy and BART: time, and the residual each leaves.

python -m benchmarks.sense
"""

import statistics
from collections.abc import Callable
from time import perf_counter
from typing import Any

import sigpy.mri.app
import torch

from benchmarks.bart_cfl import run_bart
from benchmarks.machine import write_results
from recon_core.masks import equispaced_lines, poisson_disc
from recon_core.sense import cg_sense, wavelet_sense
from recon_core.sense_operator import SenseOperator
from recon_core.simulate import simulate_acquisition

N_REPETITIONS = 7
MATRIX = (256, 256)
N_COILS = 8
LAMBDA = 0.002
Run = Callable[[], tuple[torch.Tensor, float]]
"""A reconstruction, giving the image (y, x) and the seconds it took."""


def main() -> None:
    scan = simulate_acquisition(MATRIX, N_COILS, oversampling=1)
    masks = {
        "every fourth line and 24 calibration lines": equispaced_lines(MATRIX, 4),
        "Poisson disc, acceleration 4": poisson_disc(MATRIX, 4),
    }
    kspace, coil_maps = scan.kspace[0], scan.coil_maps[0]
    write_results("sense", {name: compared(kspace, coil_maps, mask) for name, mask in masks.items()})


def compared(kspace: torch.Tensor, coil_maps: torch.Tensor, sampled: torch.Tensor) -> dict[str, Any]:
    kspace = torch.where(sampled, kspace, 0)
    sense_op = SenseOperator(coil_maps, sampled)
    weight = LAMBDA * float(sense_op.H(kspace).abs().max())
    y, maps, mask = (
        kspace[:, 0].numpy(),
        coil_maps[:, 0].numpy(),
        sampled.expand(1, *MATRIX)[0].float().numpy(),
    )
    quiet = {"weights": mask, "show_pbar": False}

    def bart(command: str) -> tuple[torch.Tensor, float]:
        result = run_bart(command, kspace.numpy(), coil_maps.numpy(), n_threads=torch.get_num_threads())
        return torch.from_numpy(result.outputs[0]), result.wall_s

    cg = interleaved(
        {
            "reconstream": timed(lambda: cg_sense(kspace, coil_maps, sampled, n_iterations=30)[0]),
            "sigpy": timed(lambda: sigpy.mri.app.SenseRecon(y, maps, max_iter=30, **quiet).run()),
            "bart": lambda: bart("pics -l2 -r 0 -i 30 -w 1"),
        }
    )
    l1_wavelet = interleaved(
        {
            "reconstream": timed(
                lambda: wavelet_sense(kspace, coil_maps, sampled, n_iterations=50, regularisation=LAMBDA)[0]
            ),
            "sigpy": timed(lambda: sigpy.mri.app.L1WaveletRecon(y, maps, weight, max_iter=50, **quiet).run()),
            "bart": lambda: bart(f"pics -R W:3:0:{weight} -i 50 -w 1"),
        }
    )
    return {
        "cg_sense, 30 iterations": summarised(cg, sense_op, kspace),
        "wavelet_sense, 50 iterations": summarised(l1_wavelet, sense_op, kspace),
    }


def timed(reconstruct: Callable[[], Any]) -> Run:
    def run() -> tuple[torch.Tensor, float]:
        begin = perf_counter()
        image = reconstruct()
        return torch.as_tensor(image), perf_counter() - begin

    return run


def interleaved(
    runs: dict[str, Run], n_repetitions: int = N_REPETITIONS
) -> dict[str, tuple[torch.Tensor, list[float]]]:
    """The image of each and its times: one of each in turn, to meet the same machine; first dropped."""
    images: dict[str, torch.Tensor] = {}
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(n_repetitions + 1):
        for name, run in runs.items():
            images[name], wall_s = run()
            seconds[name].append(wall_s)
    return {name: (images[name], seconds[name][1:]) for name in runs}


def summarised(
    results: dict[str, tuple[torch.Tensor, list[float]]], sense_op: SenseOperator, kspace: torch.Tensor
) -> dict[str, Any]:
    ours = statistics.median(results["reconstream"][1])
    return {
        name: {
            "median_ms": round(1e3 * statistics.median(seconds), 1),
            "min_ms": round(1e3 * min(seconds), 1),
            "times_slower_than_reconstream": round(statistics.median(seconds) / ours, 1),
            "relative_residual": round(float((sense_op(image[None]) - kspace).norm() / kspace.norm()), 6),
        }
        for name, (image, seconds) in results.items()
    }


if __name__ == "__main__":
    main()
