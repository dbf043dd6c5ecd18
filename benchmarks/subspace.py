"""The temporal feature space: backprojection, normal operator and ADMM against SigPy, BART and plain NUFFTs.

python -m benchmarks.subspace

One slice as in the dissertation: 160 × 160, 32 coefficients, 10 coils, 9,976 golden-angle spokes of 320
samples. Processor seconds on one thread throughout, which other work on the machine changes less than it does
wall time. What would take minutes is measured on an independent part of it and multiplied, as `parts` says.
"""

import resource
from collections.abc import Callable
from time import process_time
from typing import Any

import torch

from benchmarks.bart_cfl import run_bart
from benchmarks.machine import write_results
from recon_core.feature_kernel import KernelSums
from recon_core.feature_sums import FeatureSums
from recon_core.nufft import Nufft
from recon_core.rotated_readouts import rotated_readouts
from recon_core.simulate import loop_coil_maps
from recon_core.solve.sigpy_nufft import sigpy_feature_images
from recon_core.subspace import SubspaceNormal
from recon_core.subspace_reconstruction import wavelet_subspace
from recon_core.trajectories import directions, golden_angle, radial

MATRIX, RANK, N_COILS, N_SPOKES = 160, 32, 10, 29 * 344
SHAPE = (1, MATRIX, MATRIX)
N_CG_STEPS = 20 * 20
N_BART_FRAMES = 48
BART_ITERATIONS = (1, 4)


def main() -> None:
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    trajectory = spokes(N_SPOKES)
    basis = torch.randn(RANK, N_SPOKES, generator=generator)
    kspace = torch.randn(N_COILS, N_SPOKES, 2 * MATRIX, dtype=torch.complex64, generator=generator)
    coil_maps = loop_coil_maps(N_COILS, (MATRIX, MATRIX))[:, None]

    rotated = rotated_readouts(trajectory, SHAPE)
    sums, kernel_sums = FeatureSums(SHAPE, rotated), KernelSums(SHAPE, rotated)
    adding_s, _ = timed(lambda: sums.add(kspace, trajectory, basis))
    finishing_s, images = timed(sums.images)
    one = slice(0, 1)
    sigpy_feature_images(kspace[one, :2], trajectory[:2], basis[one, :2], SHAPE)  # compiles
    sigpy_s, sigpy_images = timed(lambda: sigpy_feature_images(kspace[one], trajectory, basis[one], SHAPE))
    every_spoke = FeatureSums(SHAPE, None)
    every_spoke_s, _ = timed(lambda: every_spoke.add(kspace[one], trajectory, basis[one]))
    difference = float((images[:1, :1] - sigpy_images).norm() / sigpy_images.norm())

    kernel_adding_s, _ = timed(lambda: kernel_sums.add(trajectory, basis))
    kernel_s, kernel = timed(kernel_sums.kernel)
    normal_op = SubspaceNormal(kernel, coil_maps)
    features = torch.randn(RANK, *SHAPE, dtype=torch.complex64, generator=generator)
    normal_s = min(timed(lambda: normal_op(features))[0] for _ in range(3))
    nufft_op = Nufft(trajectory, SHAPE)
    pair_s, _ = timed(lambda: nufft_op.H(nufft_op(features[0])))
    naive_s = RANK * N_COILS * pair_s
    admm_s, _ = timed(lambda: wavelet_subspace(normal_op, features, n_iterations=1, n_inner_iterations=4))
    admm_s = (kernel_adding_s + kernel_s) + N_CG_STEPS * normal_s + 20 * max(0.0, admm_s - 15 * normal_s)
    bart_s = bart_iteration_s(coil_maps)
    ours_s = adding_s + finishing_s
    write_results(
        "subspace",
        {
            "problem": f"{MATRIX}², {RANK} coefficients, {N_COILS} coils, {N_SPOKES} spokes",
            "parts": "sigpy and single NUFFTs: one coefficient of one coil, times their number; "
            "ADMM 20 × 20: its kernel, 400 normal operators and 20 thresholds",
            "backprojection": {
                "adding_s": round(adding_s, 2),
                "after_the_last_readout_s": round(finishing_s, 2),
                "sigpy_s": round(RANK * N_COILS * sigpy_s, 1),
                "sigpy_over_ours": round(RANK * N_COILS * sigpy_s / ours_s, 1),
                "finufft_of_every_spoke_over_ours": round(RANK * N_COILS * every_spoke_s / ours_s, 1),
                "difference_from_sigpy": float(f"{difference:.1e}"),
            },
            "normal operator": {
                "kernel_s": round(kernel_adding_s + kernel_s, 2),
                "kernel_mb": round(kernel.numel() * kernel.element_size() / 1e6),
                "ours_s": round(normal_s, 3),
                "nufft_forward_and_adjoint_s": round(naive_s, 1),
                "nufft_over_ours": round(naive_s / normal_s, 1),
                "bart_pics_iteration_s": round(bart_s, 2),
                "bart_over_ours": round(bart_s / normal_s, 1),
            },
            "ADMM 20 × 20": {
                "ours_s": round(admm_s, 1),
                "with_nufft_s": round(N_CG_STEPS * naive_s),
                "nufft_over_ours": round(N_CG_STEPS * naive_s / admm_s, 1),
            },
            "peak_memory_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2),
        },
    )


def spokes(n: int) -> torch.Tensor:
    return radial(directions(torch.arange(n) * golden_angle()), 2 * MATRIX, spacing=0.5)


def timed(work: Callable[[], Any]) -> tuple[float, Any]:
    begin = process_time()
    result = work()
    return process_time() - begin, result


def bart_iteration_s(coil_maps: torch.Tensor) -> float:
    """Of `pics -B` with conjugate gradients: what each further iteration takes, whatever the spokes."""
    generator = torch.Generator().manual_seed(0)
    trajectory = torch.nn.functional.pad(spokes(N_BART_FRAMES), (0, 1))
    kspace = torch.randn(
        N_BART_FRAMES, 1, N_COILS, 1, 2 * MATRIX, 1, dtype=torch.complex64, generator=generator
    )
    basis = torch.linalg.qr(torch.randn(N_BART_FRAMES, RANK, generator=generator)).Q.mT
    arrays = [
        kspace,
        coil_maps,
        trajectory.reshape(N_BART_FRAMES, 1, 1, 1, 2 * MATRIX, 3),
        basis.reshape(RANK, N_BART_FRAMES, 1, 1, 1, 1, 1),
    ]
    seconds = []
    for n in BART_ITERATIONS:
        begin = resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime
        run_bart(f"pics -w 1 -l2 -r 0.001 -i {n} -t in2 -B in3", *(array.numpy() for array in arrays))
        seconds.append(resource.getrusage(resource.RUSAGE_CHILDREN).ru_utime - begin)
    return (seconds[1] - seconds[0]) / (BART_ITERATIONS[1] - BART_ITERATIONS[0])


if __name__ == "__main__":
    main()
