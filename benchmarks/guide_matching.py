"""How surely a patient's own image is told from others' as a guide, how well it is moved, how fast.

    python -m benchmarks.guide_matching DATA     (the folder with ``images`` and ``raw``)

Five heads in three contrasts each, as full scans and zero-filled from a quarter and a sixth of the lines with
2 % of noise: is the slice in another contrast, turned and shifted at random by up to 8 degrees and 8 mm along
each axis, accepted? And are slices of other heads at about the same level, moved alike? `MIN_SIMILARITY` was
chosen on the first two heads. How well motions are recovered is judged against the motion found where none
was added: how well the scans agree as they are, nobody knows.
"""

import argparse
import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import process_time
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks.machine import median_ms, write_results
from pipelines import reconstruct
from recon_core.fourier import fft, ifft, resize
from recon_core.guide_match import MIN_SIMILARITY, match_guide
from recon_core.image_geometry import ImageGeometry
from recon_core.masks import random_lines
from recon_core.resample import resample
from recon_core.rigid_registration import Alignment, in_plane_motion, register_in_plane, search_grid

CHOSEN_ON = ("skull-stripped, 1 mm", "whole head, 1.5 mm")
NOISE = 0.02
"""Of the brightest voxel."""
MOST_PIXELS = 256


class Picture(NamedTuple):
    image: torch.Tensor
    """`(1, y, x)` magnitudes."""
    geometry: ImageGeometry


Heads = dict[str, dict[str, list[Picture]]]
"""Slices by head and contrast; those of one number lie at one place."""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    torch.set_num_threads(1)
    figures: dict[str, Any] = {"processor time a slice of 256 x 256, ms": speed()}
    heads = read(parser.parse_args().data)
    for name in heads:
        for preview, rate in (("full", 1), ("R = 4", 4), ("R = 6", 6)):
            print(name, preview, flush=True)
            figures[f"{name}, {preview}"] = told_apart(heads, name, rate)
    write_results("guide_matching", figures)


def read(data: Path) -> Heads:
    """Anterior up, at most `MOST_PIXELS` across."""
    images = {path.stem: np.load(path) for path in (data / "images").glob("brain_*_t1_*.npz")}
    stripped, whole = (images[f"brain_multicontrast_{name}"] for name in ("t1_t1c_t2_flair", "t1_pd_mt"))
    heads: Heads = {
        CHOSEN_ON[0]: {
            contrast: [picture(np.rot90(stripped[contrast][..., z]), 240.0, 240.0) for z in (60, 90, 115)]
            for contrast in ("T1", "T2", "FLAIR")
        },
        CHOSEN_ON[1]: {
            contrast: [picture(np.rot90(whole[contrast][..., z]), 192.0, 192.0) for z in (50, 64, 78)]
            for contrast in ("T1w", "PDw", "MTw")
        },
        "patient b, 3 T": {
            contrast: [picture(one, 220.0 * one.shape[0] / one.shape[1], 220.0) for one in slices]
            for contrast, slices in images["brain_3t_b_t1_t2_flair"].items()
        },
    }
    for patient in "ab":
        scans = {c: data / "raw" / f"brain_lowfield_{patient}_{c}_1ch.h5" for c in ("gre", "fse", "flair")}
        heads[f"patient {patient}, 0.055 T"] = {
            contrast: [picture(np.rot90(np.abs(one.data[0, 0])), 220.0, 220.0) for one in reconstruct(path)]
            for contrast, path in scans.items()
        }
    return heads


def picture(pixels: Any, height_mm: float, width_mm: float) -> Picture:
    """Larger matrices are cropped in k-space."""
    image = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32))[None]
    shape = [round(n * min(1, MOST_PIXELS / max(image.shape))) for n in image.shape[1:]]
    image = ifft(resize(fft(image.to(torch.complex64), (-2, -1)), shape), (-2, -1)).abs()
    geometry = ImageGeometry(matrix=(shape[1], shape[0], 1), fov_mm=(width_mm, height_mm, 5.0))
    return Picture(image, geometry)


def told_apart(heads: Heads, name: str, rate: int) -> dict[str, Any]:
    """Of every slice in every contrast of one head as target."""
    draw = random.Random(0)
    right, wrong, mm, degrees = [], [], [], []
    for contrast, slices in heads[name].items():
        for number, target in enumerate(slices):
            preview = Picture(zero_filled(target.image, rate, draw), target.geometry)
            own = heads[name][draw.choice([other for other in heads[name] if other != contrast])][number]
            motion = random_motion(preview.geometry, draw)
            found, unmoved = aligned(own, preview, motion), aligned(own, preview, torch.eye(4).double())
            right.append(found)
            error = found.motion @ motion @ torch.linalg.inv(unmoved.motion)
            mm.append(float(error[:2, 3].norm()))
            degrees.append(abs(math.degrees(math.asin(float(error[1, 0])))))
            for _ in range(2):
                other = heads[draw.choice([head for head in heads if is_another(head, name)])]
                level = other[draw.choice(list(other))]
                guide = level[min(max(number + draw.choice((-1, 0, 1)), 0), len(level) - 1)]
                wrong.append(aligned(guide, preview, random_motion(preview.geometry, draw)))
    return {
        "own accepted": f"{sum(map(is_accepted, right))} of {len(right)}",
        "own similarity, least and median": rounded(np.percentile([a.similarity for a in right], (0, 50))),
        "others accepted": f"{sum(map(is_accepted, wrong))} of {len(wrong)}",
        "others' similarity, median and most": rounded(
            np.percentile([a.similarity for a in wrong], (50, 100))
        ),
        "motion recovered within mm, median and most": rounded(np.percentile(mm, (50, 100))),
        "and degrees": rounded(np.percentile(degrees, (50, 100))),
    }


def is_another(head: str, name: str) -> bool:
    """The third and the last are one patient."""
    return head.split(",")[0] != name.split(",")[0]


def is_accepted(alignment: Alignment) -> bool:
    return alignment.similarity >= MIN_SIMILARITY and alignment.is_inside


def aligned(guide: Picture, target: Picture, motion: torch.Tensor) -> Alignment:
    grid = search_grid(target.geometry)
    moving = resample(guide.image, guide.geometry.moved(motion), grid)
    return register_in_plane(*moving, *resample(target.image, target.geometry, grid), grid)


def random_motion(geometry: ImageGeometry, draw: random.Random) -> torch.Tensor:
    return in_plane_motion(geometry, draw.uniform(-8, 8), (draw.uniform(-8, 8), draw.uniform(-8, 8)))


def zero_filled(image: torch.Tensor, rate: int, draw: random.Random) -> torch.Tensor:
    if rate == 1:
        return image
    seed = draw.randrange(1 << 30)
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed))
    kspace = fft((image + NOISE * image.max() * noise).to(torch.complex64), (-2, -1))
    n_y, n_x = image.shape[1:]
    return ifft(kspace * random_lines((n_y, n_x), rate, n_calibration=n_y // 12, seed=seed), (-2, -1)).abs()


def rounded(values: Any) -> list[float]:
    return [round(float(value), 2) for value in values]


def speed() -> dict[str, float]:
    """Of one thread."""
    target = ImageGeometry(matrix=(256, 256, 1), fov_mm=(230.0, 230.0, 5.0))
    slices = ImageGeometry(matrix=(256, 256, 20), fov_mm=(240.0, 240.0, 120.0), thickness_mm=5.0)
    finer = ImageGeometry(matrix=(512, 512, 20), fov_mm=(240.0, 240.0, 120.0), thickness_mm=5.0)
    volume = ImageGeometry(matrix=(256, 256, 180), fov_mm=(256.0, 256.0, 180.0))
    turned = target.moved(in_plane_motion(target, 5.0, (3.0, 2.0)))
    tilted = replace(target, directions=((1.0, 0.0, 0.0), (0.0, 0.96, 0.28), (0.0, -0.28, 0.96)))
    cases = {
        "stack": (slices, turned),
        "stack of 512 x 512, band-limited": (finer, turned),
        "1 mm volume, parallel": (volume, turned),
        "1 mm volume, oblique": (volume, tilted),
    }
    figures = {}
    for name, (geometry, grid) in cases.items():
        image = torch.rand(geometry.matrix[::-1])
        figures[f"resampling a {name}"] = cpu_ms(partial(resample, image, geometry, grid))
    guide = torch.rand(slices.matrix[::-1])
    figures["a whole match"] = cpu_ms(lambda: match_guide(guide, slices, guide[10:11], target))
    return figures


def cpu_ms(work: Callable[[], object]) -> float:
    work()
    return round(median_ms(work, clock=process_time), 1)


if __name__ == "__main__":
    main()
