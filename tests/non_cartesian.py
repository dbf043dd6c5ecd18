"""Non-Cartesian scans of the head phantom whose samples and truth are exact: no grid, no inverse crime."""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import product

import torch

from gadgets.records import Readouts
from pipelines.sources import Scan
from recon_core.fourier import ifft
from recon_core.phantom import head_kspace, head_samples
from recon_core.trajectories import directions, golden_angle, radial, rotated, spiral_arm
from tests.gadgets.small_scan import flagged, noise_readout, readouts, with_header

FOV_MM = 240.0
DWELL_TIME_US = 4.0
GRADIENT_MT_PER_M, SLEW_T_PER_M_PER_S = 30.0, 150.0
HARMONICS = [(0.5 * m, 0.5 * n) for m, n in product((-1, 0, 1), repeat=2)]
"""Spatial frequencies (kx, ky) in cycles per field of view that coil maps are made of."""


@dataclass(frozen=True)
class ExactScan:
    """What coils with maps of a few harmonics see of the head, and the truth."""

    kspace: torch.Tensor
    """(coil, readout, sample) complex64."""
    trajectory: torch.Tensor
    """(readout, sample, 2) float32."""
    coil_maps: torch.Tensor
    """(coil, 1, y, x), root sum of squares near one."""
    truth: torch.Tensor
    """(1, y, x): the object's own k-space cropped to the matrix."""


def exact_scan(trajectory: torch.Tensor, n: int, n_coils: int = 4, noise_std: float = 0.0) -> ExactScan:
    """Sample the head in a matrix of n x n: a map Σ a_q e^{2πi q·r} moves k-space, y(k) = Σ a_q ρ(k − q)."""
    amplitudes = _amplitudes(n_coils)
    samples = torch.stack([head_samples(trajectory - torch.tensor(q), (n, n)) for q in HARMONICS])
    kspace = torch.einsum("cq,qrs->crs", amplitudes, samples).to(torch.complex64)
    generator = torch.Generator().manual_seed(0)
    kspace += noise_std * torch.randn(kspace.shape, dtype=torch.complex64, generator=generator)
    position = (torch.arange(n, dtype=torch.float64) - n // 2) / n
    waves = torch.stack(
        [torch.exp(2j * math.pi * (x * position[None, :] + y * position[:, None])) for x, y in HARMONICS]
    )
    coil_maps = torch.einsum("cq,qyx->cyx", amplitudes, waves).to(torch.complex64)
    truth = ifft(head_kspace((n, n))[None]).to(torch.complex64)
    return ExactScan(kspace, trajectory.float(), coil_maps[:, None], truth)


def golden_spokes(n: int, n_spokes: int) -> torch.Tensor:
    """Spokes oversampled twice."""
    angles = torch.arange(n_spokes, dtype=torch.float64) * golden_angle()
    return radial(directions(angles), 2 * n, spacing=0.5)


def spiral_arms(n: int, n_arms: int) -> torch.Tensor:
    """Spirals of uniform density."""
    arm = spiral_arm(
        (FOV_MM,),
        n_arms,
        max_k_per_mm=n / 2 / FOV_MM,
        max_gradient_mt_per_m=GRADIENT_MT_PER_M,
        max_slew_t_per_m_per_s=SLEW_T_PER_M_PER_S,
        dwell_time_us=DWELL_TIME_US,
    )
    return rotated(FOV_MM * arm, torch.arange(n_arms, dtype=torch.float64) * 2 * math.pi / n_arms)


def spiral_description(n: int, n_arms: int) -> str:
    """What a converter of Siemens data would say of `spiral_arms`."""
    whole = {"interleaves": n_arms, "fov_coefficients": 1, "SamplingTime_ns": round(1000 * DWELL_TIME_US)}
    real = {
        "MaxGradient_G_per_cm": GRADIENT_MT_PER_M / 10,
        "MaxSlewRate_G_per_cm_per_s": 100 * SLEW_T_PER_M_PER_S,
        "FOVCoeff_1_cm": FOV_MM / 10,
        "krmax_per_cm": 10 * n / 2 / FOV_MM,
    }
    parameters = "".join(
        f"<userParameter{kind}><name>{name}</name><value>{value}</value></userParameter{kind}>"
        for kind, values in (("Long", whole), ("Double", real))
        for name, value in values.items()
    )
    return (
        "<trajectoryDescription><identifier>HargreavesVDS2000</identifier>"
        f"{parameters}</trajectoryDescription>"
    )


def mrd_scan(
    scan: ExactScan,
    trajectory: str,
    *,
    sends_trajectory: bool = True,
    description: str = "",
    oversampling: int = 1,
    n_repetitions: int = 1,
) -> Scan:
    """A noise scan, then the readouts as a scanner would send them, in equal parts for every repetition."""

    def items() -> Iterator[Readouts]:
        yield noise_readout(len(scan.kspace), 512)
        parts = zip(scan.kspace.chunk(n_repetitions, 1), scan.trajectory.chunk(n_repetitions), strict=True)
        for repetition, (samples, places) in enumerate(parts):
            block = readouts(samples[:, None].numpy(), repetition=repetition)
            if repetition == n_repetitions - 1:
                block = flagged(block, slice(len(block) - 1, None), "LAST_IN_MEASUREMENT")
            if sends_trajectory:
                block = replace(with_header(block, trajectory_dimensions=2), trajectory=places.numpy())
            yield block

    n, n_samples = scan.truth.shape[-1], scan.kspace.shape[-1]
    n_readouts = scan.kspace.shape[1] // n_repetitions
    encoded = n_samples, n_readouts, oversampling
    return Scan(_header(n, encoded, n_repetitions, trajectory, description), items)


def _header(
    n: int, encoded: tuple[int, int, int], n_repetitions: int, trajectory: str, description: str
) -> bytes:
    n_samples, n_readouts, oversampling = encoded
    return f"""<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
<encoding>
<encodedSpace><matrixSize><x>{n_samples}</x><y>{n_readouts}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{FOV_MM * oversampling}</x><y>{FOV_MM}</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{n}</x><y>{n}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>{FOV_MM}</x><y>{FOV_MM}</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits>
{_limit("kspace_encoding_step_1", n_readouts)}{_limit("repetition", n_repetitions)}
</encodingLimits>
<trajectory>{trajectory}</trajectory>{description}
</encoding></ismrmrdHeader>""".encode()


def _limit(counter: str, n: int) -> str:
    return f"<{counter}><minimum>0</minimum><maximum>{n - 1}</maximum><center>0</center></{counter}>"


def _amplitudes(n_coils: int) -> torch.Tensor:
    """(coil, harmonic): coil c looks towards its own side, falling off smoothly."""
    angles = 2 * math.pi * torch.arange(n_coils, dtype=torch.float64) / n_coils
    x, y = torch.tensor(HARMONICS, dtype=torch.float64).T
    inward = torch.cos(angles)[:, None] * x + torch.sin(angles)[:, None] * y
    amplitudes = torch.exp(-2 * (x.square() + y.square())) * torch.exp(0.9j * math.pi * inward)
    return amplitudes / amplitudes.abs().square().sum(1, keepdim=True).sqrt() / math.sqrt(n_coils)
