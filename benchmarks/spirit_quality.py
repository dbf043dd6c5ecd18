"""How good SPIRiT's images of real scans are, beside GRAPPA's and ESPIRiT-SENSE's from the same samples.

    python -m benchmarks.spirit_quality DATA [--pictures FOLDER]     (the folder of the raw scans)

Fully sampled scans lose samples. Coil images of every method are combined by the same low-resolution maps of
the calibration samples, and compared with the full sampling combined so. Parameters are those of the gadgets.
"""

import argparse
from pathlib import Path
from typing import Any

import ismrmrd
import torch
from PIL import Image

from benchmarks.machine import write_results
from gadgets.coil_maps import CoilMaps
from gadgets.grappa import Grappa
from gadgets.sense import Sense
from gadgets.spirit import N_FIRST, Spirit
from recon_core.coils.combine import sense_combine
from recon_core.coils.espirit import espirit
from recon_core.coils.low_resolution import low_resolution_maps
from recon_core.coils.spirit_kernel import spirit_kernel
from recon_core.fourier import fft, ifft, resize
from recon_core.grappa import apply_grappa, grappa_weights
from recon_core.masks import equispaced_lines, poisson_disc
from recon_core.metrics import psnr, ssim
from recon_core.sense import cg_sense
from recon_core.spirit import cg_spirit, l1_spirit

SCANS = ("brain_8ch_230x180", "brain_8ch_256x256", "brain_16ch_96x96", "brain_4ch_mprage_256x256")
N_CALIBRATION = 24
N_ITERATIONS = {2: 20, 4: 30}


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--pictures", type=Path)
    arguments = parser.parse_args()
    figures: dict[str, Any] = {}
    for name in SCANS:
        kspace = read(arguments.data / f"{name}.h5")
        for rate in (2, 4):
            shape = (kspace.shape[-2], kspace.shape[-1])
            lines = equispaced_lines(shape, rate, n_calibration=N_CALIBRATION, offset=0).expand(shape)
            for pattern, sampled in [("lines", lines), ("Poisson disc", poisson_disc(shape, rate))]:
                images = compared(kspace, sampled, rate, pattern == "lines")
                full = images.pop("full sampling")
                label = f"{name}, {pattern}, R = {rate}"
                figures[label] = {
                    method: f"{psnr(image, full):.2f} dB, {ssim(image, full):.4f}"
                    for method, image in images.items()
                }
                print(label, figures[label], flush=True)
                if arguments.pictures:
                    save(arguments.pictures / f"{label}.png", full, list(images.values()))
    write_results("spirit_quality", figures)


def read(path: Path) -> torch.Tensor:
    """(coil, 1, ky, kx)."""
    with ismrmrd.Dataset(path, mode="r") as dataset:
        lines = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]
    lines.sort(key=lambda line: int(line.idx.kspace_encode_step_1))
    return torch.stack([torch.from_numpy(line.data) for line in lines], dim=1)[:, None]


def compared(kspace: torch.Tensor, sampled: torch.Tensor, rate: int, lines: bool) -> dict[str, torch.Tensor]:
    """Magnitude images (1, y, x) by method."""
    n_y, n_x = sampled.shape
    undersampled = kspace * sampled
    calibration = resize(kspace, (N_CALIBRATION, n_x if lines else N_CALIBRATION))
    maps = low_resolution_maps(calibration, (1, n_y, n_x))
    centre = resize(calibration, (min(calibration.shape[-1], Spirit().calibration_width),))
    kernel = spirit_kernel(centre[:, 0])[None]
    slices = undersampled[:, 0][None], sampled[None], kernel

    filled = {"full sampling": kspace, "zero-filled": undersampled}
    if lines:
        weights = grappa_weights(
            centre, (1, rate), kernel=Grappa().kernel, regularisation=Grappa().regularisation
        )
        filled["GRAPPA"] = apply_grappa(weights, undersampled, sampled.any(-1)[None])
    small = resize(calibration, (N_CALIBRATION, N_CALIBRATION))
    coil_maps = espirit(small, (1, n_y, n_x), crop=CoilMaps().crop).maps[0]
    sense = cg_sense(
        undersampled,
        coil_maps,
        sampled[None],
        n_iterations=Sense().n_iterations,
        tolerance=Sense().tolerance,
    )
    filled["ESPIRiT-SENSE"] = fft(coil_maps * sense)
    filled["CG-SPIRiT"] = cg_spirit(*slices)[0][:, None]
    first = cg_spirit(*slices, n_iterations=N_FIRST)
    l1 = l1_spirit(first, *slices[1:], n_iterations=N_ITERATIONS[rate], regularisation=Spirit().l1)
    filled["L1-SPIRiT"] = l1[0][:, None]
    return {name: sense_combine(ifft(one), maps).abs() for name, one in filled.items()}


def save(path: Path, full: torch.Tensor, images: list[torch.Tensor]) -> None:
    """The images side by side, above their differences from full sampling, five times as bright."""
    path.parent.mkdir(parents=True, exist_ok=True)
    top = torch.cat([full, *images], dim=-1)[0]
    below = torch.cat([0 * full, *[5 * (image - full).abs() for image in images]], dim=-1)[0]
    both = (torch.cat([top, below]) / (0.7 * full.max())).clamp(0, 1)
    Image.fromarray((255 * both).to(torch.uint8).numpy()).save(path)


if __name__ == "__main__":
    main()
