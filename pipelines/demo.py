"""The demo: a simulated scan through a real server over TCP, and how good and how fast its images are."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any

import ismrmrd
import msgspec
import numpy as np
import torch

from gadgets.mrd_images import FALLBACK, NOTE
from pipelines import client
from pipelines.outputs import write_all
from pipelines.server import Server
from pipelines.simulated_scan import simulated_scan
from pipelines.sources import Scan
from recon_core.coils.whitening import whitening_matrix
from recon_core.metrics import nrmse, psnr, ssim
from recon_core.simulate import SimulatedScan, simulate_acquisition

RECIPES = ("cartesian_fft", "cartesian_grappa", "cartesian_sense", "cartesian_cascade")
"""What the scan is reconstructed by: zero filling to compare with, parallel imaging, then a network."""

N_COILS, MATRIX, N_SLICES, ACCELERATION, N_CALIBRATION_LINES, SNR = 16, (256, 256), 3, 3, 24, 40.0
ERROR_GAIN = 5


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One recipe's images, times in seconds and errors against the truth."""

    recipe: str
    fallback: str
    """Why the images are not a network's where they should be; empty where they are as the recipe says."""
    first_byte_to_last_image_s: float
    last_readout_to_image_s: float
    nrmse: float
    psnr_db: float
    ssim: float
    files: list[Path]

    @property
    def title(self) -> str:
        """The recipe, and that it fell back."""
        return f"{self.recipe} (fallback)" if self.fallback else self.recipe


class Demo(msgspec.Struct, frozen=True, kw_only=True):
    """What the demo found."""

    scan: str
    megabytes: float
    trials: list[Trial]
    comparison: Path


def run_demo(directory: Path) -> Demo:
    """Simulate a scan, send it to a server of its own, and leave images and a comparison in `directory`."""
    simulation = simulate_acquisition(MATRIX, N_COILS, n_slices=N_SLICES, snr=SNR)
    scan = simulated_scan(simulation, acceleration=ACCELERATION, n_calibration_lines=N_CALIBRATION_LINES)
    truth = truth_as_seen(simulation)
    trials, pictures = [], [truth]
    with Server(port=0) as server:
        server.warm_up()
        for recipe in RECIPES:
            trial, magnitude = _tried(recipe, scan, truth, server.address, directory)
            trials.append(trial)
            pictures.append(magnitude)
    comparison = directory / "comparison.png"
    _draw_comparison(pictures, ["truth", *(trial.title for trial in trials)], comparison)
    return Demo(
        scan=(
            f"{N_SLICES} slices of {MATRIX[0]} x {MATRIX[1]}, {N_COILS} coils, R = {ACCELERATION}, "
            f"{N_CALIBRATION_LINES} calibration lines, SNR {SNR:.0f}"
        ),
        megabytes=sum(block.data.nbytes for block in scan.items()) / 1e6,
        trials=trials,
        comparison=comparison,
    )


def truth_as_seen(simulation: SimulatedScan) -> torch.Tensor:
    """`(slice, y, x)`: the object's magnitude times √(Sᴴ Ψ⁻¹ S), the intensity that whitened coils give it.

    Reconstructions normalise the coil maps of the *whitened* channels, so their images carry this smooth
    shading (Roemer et al. 1990, doi:10.1002/mrm.1910160203), which is no error.
    """
    whitening = whitening_matrix(simulation.covariance)
    maps = simulation.coil_maps[:, :, 0]
    shading = torch.linalg.vector_norm(torch.einsum("vc,scyx->svyx", whitening, maps), dim=1)
    seen: torch.Tensor = simulation.ground_truth[:, 0].abs() * shading
    return seen


def _tried(
    recipe: str, scan: Scan, truth: torch.Tensor, address: tuple[str, int], directory: Path
) -> tuple[Trial, torch.Tensor]:
    """Send the scan; the trial, and the magnitudes `(slice, y, x)` on the intensity scale of the truth."""
    sent_at: list[float] = []

    def sending() -> Iterator[Any]:
        sent_at.append(perf_counter())
        yield from scan.items()
        sent_at.append(perf_counter())

    host, port = address
    images = list(client.send(scan.header_xml, sending(), recipe, host=host, port=port))
    arrived_at = perf_counter()
    magnitude = magnitude_of(images, truth)
    trial = Trial(
        recipe=recipe,
        fallback=_fallback_notes(images),
        first_byte_to_last_image_s=arrived_at - sent_at[0],
        last_readout_to_image_s=arrived_at - sent_at[1],
        nrmse=nrmse(magnitude, truth),
        psnr_db=psnr(magnitude, truth),
        ssim=ssim(magnitude, truth),
        files=write_all(images, directory, recipe, scan.header_xml, ("mrd", "png")),
    )
    return trial, magnitude


def _fallback_notes(images: Sequence[ismrmrd.Image]) -> str:
    notes = [image.meta[NOTE] for image in images if image.meta.get(FALLBACK) == "true"]
    return "; ".join(
        dict.fromkeys(text for note in notes for text in ([note] if isinstance(note, str) else note))
    )


def magnitude_of(images: Sequence[ismrmrd.Image], truth: torch.Tensor) -> torch.Tensor:
    """`(slice, y, x)`, float32, in the order of the slices, scaled to the intensities of `truth`."""
    in_order = sorted(images, key=lambda image: int(image.slice))
    magnitude = torch.from_numpy(
        np.stack([np.abs(image.data[0, 0]).astype(np.float32) for image in in_order])
    )
    scaled: torch.Tensor = magnitude * (magnitude * truth).sum() / magnitude.square().sum()
    return scaled


def _draw_comparison(pictures: Sequence[torch.Tensor], names: Sequence[str], path: Path) -> None:
    """One column per picture: the middle slice, and below it its difference from the first, magnified."""
    from PIL import Image, ImageDraw

    middle = [picture[len(picture) // 2] for picture in pictures]
    white = float(middle[0].max())
    errors = [ERROR_GAIN * (picture - middle[0]).abs() for picture in middle]
    rows = torch.cat([torch.cat(middle, dim=1), torch.cat(errors, dim=1)])
    sheet = Image.fromarray((rows / white * 255).clamp(0, 255).byte().numpy())
    draw = ImageDraw.Draw(sheet)
    below = middle[0].shape[0] + 2
    draw.text((4, below), f"errors x {ERROR_GAIN}:", fill=255)
    for column, (name, picture) in enumerate(zip(names, middle, strict=True)):
        left = column * middle[0].shape[1] + 4
        draw.text((left, 2), name, fill=255)
        if column:
            draw.text((left, below), f"NRMSE {nrmse(picture, middle[0]):.3f}", fill=255)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
