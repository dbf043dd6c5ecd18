"""Networks on slices of 320 x 320, against the rate of convolution that this machine reaches.

python -m benchmarks.networks

One thread and its own processor time, so that a busy machine counts little. The rate to compare with is that
of a 3 x 3 convolution of 64 to 64 channels of the same slice, measured in turn with each network; a network's
operations are those of its convolutions.
"""

import statistics
from collections.abc import Callable
from dataclasses import replace
from time import process_time
from typing import Any

import torch
from torch.nn.functional import conv2d, normalize
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.machine import write_results
from recon_core.masks import equispaced_lines
from recon_core.nets.consistency import Measured, data_consistency
from recon_core.nets.registry import build
from recon_core.nets.undersampled import Undersampled

MATRIX = (320, 320)
N_COILS = 8
N_REPETITIONS = 5
SWITCHED = {"anatomies": ["brain", "knee"]}
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "d5c5": ("d5c5", {}),
    "d5c5, ASPIN": ("d5c5", SWITCHED),
    "dccnn, pn0": ("dccnn", {}),
    **{f"dccnn, {learner}": ("dccnn", {"learner": learner, **SWITCHED}) for learner in ("pn2", "pn3", "pn4")},
    "unet, pn0": ("unet", {}),
    "unet, pn4": ("unet", {"learner": "pn4", **SWITCHED}),
    "calibrated_cascade, no calibration": ("calibrated_cascade", {}),
}


def main() -> None:
    torch.set_num_threads(1)
    with torch.inference_mode():
        multi_coil = slices()
        single_coil = replace(multi_coil, kspace=multi_coil.kspace[:, :1], coil_maps=None)
        figures = {
            "of the rate of convolution": {
                name: compared(*network, single_coil) for name, network in NETWORKS.items()
            },
            f"consistency of {N_COILS} coils": consistency(multi_coil),
        }
    write_results("networks", figures)


def slices() -> Undersampled:
    sampled = equispaced_lines(MATRIX, 4).expand(1, *MATRIX)
    kspace = torch.randn(1, N_COILS, *MATRIX, dtype=torch.complex64) * sampled[:, None]
    return Undersampled(kspace=kspace, sampled=sampled, coil_maps=normalize(torch.randn_like(kspace), dim=1))


def compared(architecture: str, config: dict[str, Any], undersampled: Undersampled) -> dict[str, float]:
    network = build(architecture, config).eval().requires_grad_(False)
    anatomy = "knee" if "anatomies" in config else None
    features = torch.randn(1, 64, *MATRIX).to(memory_format=torch.channels_last)
    kernel = torch.randn(64, 64, 3, 3).to(memory_format=torch.channels_last)
    convolution_s, network_s = in_turn(
        lambda: conv2d(features, kernel, padding=1), lambda: network(undersampled, anatomy)
    )
    with FlopCounterMode(display=False) as counter:
        network(undersampled, anatomy)
    rate = counter.get_total_flops() / network_s
    return {
        "ms": round(1e3 * network_s, 1),
        "gflops": round(rate / 1e9, 1),
        "of_peak": round(rate / (2 * kernel.numel() * features[0, 0].numel() / convolution_s), 3),
    }


def consistency(undersampled: Undersampled) -> dict[str, float]:
    image = undersampled.zero_filled()
    measured = Measured(undersampled)
    hard_s, soft_s = in_turn(
        lambda: data_consistency(image, measured), lambda: data_consistency(image, measured, 10.0)
    )
    return {"hard_ms": round(1e3 * hard_s, 1), "conjugate_gradient_10_iterations_ms": round(1e3 * soft_s, 1)}


def in_turn(*works: Callable[[], Any]) -> list[float]:
    """Median processor seconds of each, one of each in turn; first dropped."""
    seconds: list[list[float]] = [[] for _ in works]
    for _ in range(N_REPETITIONS + 1):
        for work, taken in zip(works, seconds, strict=True):
            begin = process_time()
            work()
            taken.append(process_time() - begin)
    return [statistics.median(taken[1:]) for taken in seconds]


if __name__ == "__main__":
    main()
