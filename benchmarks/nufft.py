"""The non-uniform transform, its normal operator and CG-SENSE on spokes, against SigPy and BART.

python -m benchmarks.nufft
"""

import statistics
from typing import Any

import sigpy
import sigpy.mri.app
import torch

from benchmarks.bart_cfl import run_bart
from benchmarks.machine import write_results
from benchmarks.sense import Run, interleaved, timed
from recon_core.density_compensation import swept_density
from recon_core.non_cartesian_sense import NonCartesianSampling, NonCartesianSense
from recon_core.nufft import Nufft
from recon_core.phantom import head_phantom
from recon_core.sense import cg_sense
from recon_core.simulate import loop_coil_maps
from recon_core.trajectories import directions, golden_angle, radial

N, N_SPOKES, N_COILS = 256, 400, 8
ACCURATE = {"oversamp": 2, "width": 6}
"""SigPy's parameters for an error of about 1e-4; its own choice, 1.25 and 4, has 7e-3."""
N_ITERATIONS, N_REPETITIONS = 10, 3


def main() -> None:
    angles = torch.arange(N_SPOKES, dtype=torch.float64) * golden_angle()
    trajectory = radial(directions(angles), 2 * N, spacing=0.5).float()
    coil_maps = loop_coil_maps(N_COILS, (N, N))[:, None]
    coil_images = coil_maps * head_phantom((N, N))
    samples = Nufft(trajectory, (1, N, N), dtype=torch.complex128)(coil_images.to(torch.complex128))
    write_results(
        "nufft",
        {
            "scan": f"{N} x {N}, {N_COILS} coils, {N_SPOKES} golden-angle spokes of {2 * N} samples",
            "forward": forward(trajectory, coil_images, samples),
            "adjoint": adjoint(trajectory, samples),
            "normal": normal(trajectory, coil_images),
            f"cg_sense, {N_ITERATIONS} iterations": sense(trajectory, coil_maps, samples.to(torch.complex64)),
        },
    )


def forward(trajectory: torch.Tensor, coil_images: torch.Tensor, samples: torch.Tensor) -> dict[str, Any]:
    images, coordinates = coil_images[:, 0].numpy(), trajectory.flip(-1).numpy()
    nufft_op = Nufft(trajectory, (1, N, N))
    return summarised(
        {
            "reconstream": timed(lambda: nufft_op(coil_images)),
            "sigpy": timed(lambda: sigpy.nufft(images, coordinates)),
            "sigpy, accurate": timed(lambda: sigpy.nufft(images, coordinates, **ACCURATE)),
            "bart": lambda: bart("nufft", for_bart(trajectory), coil_images),
        },
        samples,
    )


def adjoint(trajectory: torch.Tensor, samples: torch.Tensor) -> dict[str, Any]:
    kspace, coordinates = samples.to(torch.complex64), trajectory.flip(-1).numpy()
    nufft_op = Nufft(trajectory, (1, N, N))
    shape = (N_COILS, N, N)
    return summarised(
        {
            "reconstream": timed(lambda: nufft_op.H(kspace)),
            "sigpy": timed(lambda: sigpy.nufft_adjoint(kspace.numpy(), coordinates, shape)),
            "sigpy, accurate": timed(
                lambda: sigpy.nufft_adjoint(kspace.numpy(), coordinates, shape, **ACCURATE)
            ),
            "bart": lambda: bart(f"nufft -a -d{N}:{N}:1", for_bart(trajectory), kspace[..., None]),
        },
        Nufft(trajectory, (1, N, N), dtype=torch.complex128).H(samples),
    )


def normal(trajectory: torch.Tensor, coil_images: torch.Tensor) -> dict[str, Any]:
    nufft_op = Nufft(trajectory, (1, N, N))
    exact_op = Nufft(trajectory, (1, N, N), dtype=torch.complex128)
    _ = nufft_op.normal
    return summarised(
        {
            "reconstream": timed(lambda: nufft_op.normal(coil_images)),
            "forward and adjoint": timed(lambda: nufft_op.H(nufft_op(coil_images))),
        },
        exact_op.H(exact_op(coil_images.to(torch.complex128))),
    )


def sense(trajectory: torch.Tensor, coil_maps: torch.Tensor, kspace: torch.Tensor) -> dict[str, Any]:
    """The operators are made anew each time, as for every image."""
    weights = swept_density(trajectory)
    sampling = NonCartesianSampling(trajectory=trajectory, weights=weights)
    coordinates = trajectory.flip(-1).numpy()
    pattern = weights.sqrt()[..., None].to(torch.complex64)

    def by_sigpy() -> Any:
        app = sigpy.mri.app.SenseRecon(
            kspace.numpy(),
            coil_maps[:, 0].numpy(),
            weights=weights.numpy(),
            coord=coordinates,
            max_iter=N_ITERATIONS,
            show_pbar=False,
        )
        return app.run()

    results = interleaved(
        {
            "reconstream": timed(lambda: cg_sense(kspace, coil_maps, sampling, n_iterations=N_ITERATIONS)[0]),
            "sigpy": timed(by_sigpy),
            "bart": lambda: bart(
                f"pics -w 1 -l2 -r 0 -i {N_ITERATIONS} -t in2 -p in3",
                kspace[..., None],
                coil_maps,
                for_bart(trajectory),
                pattern,
            ),
        },
        N_REPETITIONS,
    )
    sense_op = NonCartesianSense(coil_maps, sampling)
    data = sense_op.weighted(kspace)

    def residual(image: torch.Tensor) -> float:
        return float((sense_op(image.reshape(1, N, N)) - data).norm() / data.norm())

    return {
        name: ratio(seconds, results["reconstream"][1]) | {"relative_residual": f"{residual(image):.3g}"}
        for name, (image, seconds) in results.items()
    }


def summarised(runs: dict[str, Run], exact: torch.Tensor) -> dict[str, Any]:
    results = interleaved(runs, N_REPETITIONS)
    return {
        name: ratio(seconds, results["reconstream"][1])
        | {"relative_error": f"{float((result.reshape(exact.shape) - exact).norm() / exact.norm()):.2g}"}
        for name, (result, seconds) in results.items()
    }


def ratio(seconds: list[float], ours: list[float]) -> dict[str, float]:
    return {
        "median_ms": round(1e3 * statistics.median(seconds), 1),
        "times_slower_than_reconstream": round(statistics.median(seconds) / statistics.median(ours), 2),
    }


def bart(command: str, *arrays: torch.Tensor) -> tuple[torch.Tensor, float]:
    result = run_bart(command, *(array.numpy() for array in arrays), n_threads=torch.get_num_threads())
    return torch.from_numpy(result.outputs[0]), result.wall_s


def for_bart(trajectory: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.pad(trajectory, (0, 1)).to(torch.complex64)


if __name__ == "__main__":
    main()
