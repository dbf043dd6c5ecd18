"""The shipped cascade on real scans that lose samples, beside classical methods tuned on the other scans.

    python -m benchmarks.cascade_on_raw DATA OUT [--model NAME_OR_FOLDER] [--rates 4 6] [--seeds 3]

DATA is the folder of the raw scans, none of which the network was trained on. Wavelet SENSE and L1-SPIRiT
have the regularisation that is best on average on the other scans, at the same rate and kind of pattern; they
are tuned on the first seed. "fallback" is wavelet SENSE as the recipes have it. Every method gets the same
samples, at most eight virtual coils, and two sets of ESPIRiT maps of the sampled centre, and is compared with
all samples combined by those maps. OUT gets pictures, and classical images that a second run takes from
there.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from benchmarks import classical
from benchmarks.cascade_figures import Scored, figures, picture
from benchmarks.machine import write_results
from benchmarks.raw_cases import Case, mask, undersampled_case
from benchmarks.spirit_quality import SCANS, read
from recon_core.engine.gate import Measured, outside
from recon_core.engine.package import ModelPackage, load_package
from recon_core.engine.store import ModelStore
from recon_core.masks import true_acceleration
from recon_core.nets.undersampled import Undersampled, reconstruct
from recon_core.noise_level import estimated_noise_std

PATTERNS = ("random_lines", "equispaced_lines", "poisson_disc")
SHIPPED = "multicoil_cascade"
PICTURED = ("fallback", "wavelet SENSE", "L1-SPIRiT", "network")
Image = Callable[[], torch.Tensor | None]


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--model", default=SHIPPED)
    parser.add_argument("--rates", type=int, nargs="+", default=[2, 4, 6, 8, 10])
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    folder = Path(arguments.model)
    package = load_package(folder) if folder.is_dir() else ModelStore.default().load(arguments.model)
    bench = Bench(arguments.data, arguments.out, package)
    scored = [
        one
        for rate in arguments.rates
        for pattern in PATTERNS
        for one in bench.scored(pattern, rate, arguments.seeds)
    ]
    found = {
        "model": f"{package.id} {package.hash}",
        **figures(scored),
        "left out, calibration would be most of the lines": bench.left_out,
    }
    if arguments.model == SHIPPED:
        write_results("cascade_on_raw", found)
    else:
        print(json.dumps(found, indent=1))


class Bench:
    """The scans, the network, and what is on disk of the classical images."""

    def __init__(self, data: Path, out: Path, package: ModelPackage) -> None:
        self.full = {name: read(data / f"{name}.h5") for name in SCANS}
        self.out = out
        self.package, self.network = package, package.network()
        self.left_out: list[str] = []

    def scored(self, pattern: str, rate: int, n_seeds: int) -> list[Scored]:
        """Every scan and seed, and pictures of the first seed."""
        cases = {name: self.case(name, pattern, rate, 0) for name in SCANS}
        present = {name: case for name, case in cases.items() if case is not None}
        self.left_out += [f"{name}, {pattern}, R = {rate}" for name in SCANS if name not in present]
        weights = self.weights(present, pattern, rate)
        found, rows = [], []
        for seed in range(n_seeds):
            for name in present:
                case = present[name] if seed == 0 else self.case(name, pattern, rate, seed)
                assert case is not None
                images, refusals = self.images(case, (name, pattern, rate, seed), weights[name])
                scores = {method: case.scores(image).tolist() for method, image in images.items()}
                acceleration = true_acceleration(case.sampled)
                one = Scored(name, pattern, rate, seed, acceleration, weights[name], refusals, scores)
                print(one, flush=True)
                found.append(one)
                if seed == 0:
                    rows.append([case.reference, *(images[method] for method in PICTURED)])
        picture(self.out / f"R{rate}_{pattern}.png", ("all samples", *PICTURED), rows)
        return found

    def case(self, name: str, pattern: str, rate: int, seed: int) -> Case | None:
        full = self.full[name]

        def drawn() -> torch.Tensor | None:
            return mask(pattern, (full.shape[-2], full.shape[-1]), rate, seed)

        sampled = self.kept((name, pattern, rate, seed, "mask"), drawn)
        return None if sampled is None else undersampled_case(full, sampled)

    def weights(self, cases: dict[str, Case], pattern: str, rate: int) -> dict[str, dict[str, float]]:
        """By scan and method: which weight has the largest mean PSNR on all the other scans."""
        psnr = {
            (method, weight, name): float(
                case.scores(self.tuned(case, (name, pattern, rate, 0), method, weight))[0]
            )
            for name, case in cases.items()
            for method, weights in classical.WEIGHTS.items()
            for weight in weights
        }

        def best(left_out: str, method: str) -> float:
            others = [name for name in cases if name != left_out]
            return max(classical.WEIGHTS[method], key=lambda w: sum(psnr[method, w, name] for name in others))

        return {name: {method: best(name, method) for method in classical.WEIGHTS} for name in cases}

    def images(
        self, case: Case, key: tuple[str, str, int, int], weights: dict[str, float]
    ) -> tuple[dict[str, torch.Tensor], list[str]]:
        """Magnitudes by method, and why the network was not asked."""
        rate = key[2]
        images: dict[str, Image] = {
            "fallback": lambda: classical.fallback(case),
            "CG-SENSE": lambda: classical.sense(case),
        }
        if key[1] == "equispaced_lines":
            images["GRAPPA"] = lambda: classical.grappa(case, rate)
        found = {name: self.kept((*key, name), image) for name, image in images.items()}
        for method, weight in weights.items():
            found[method] = self.tuned(case, key, method, weight)
        undersampled = Undersampled(
            kspace=case.kspace[:, 0][None],
            sampled=case.sampled[None],
            coil_maps=case.coil_maps[:1, :, 0],
            second_maps=case.coil_maps[1:, :, 0],
            noise_std=estimated_noise_std(case.kspace[:, 0], case.sampled)[None],
        )
        measured = Measured.of(undersampled.normalised()[0])
        refusals = outside(self.package.manifest.ranges, measured)
        with torch.inference_mode():
            found["network"] = found["fallback"] if refusals else reconstruct(self.network, undersampled)
        return {name: image.abs() for name, image in found.items() if image is not None}, refusals

    def tuned(self, case: Case, key: tuple[str, str, int, int], method: str, weight: float) -> torch.Tensor:
        image = self.kept((*key, method, f"{weight:g}"), lambda: classical.tuned(method, case, weight))
        assert image is not None
        return image

    def kept(self, key: tuple[object, ...], image: Image) -> torch.Tensor | None:
        """From the disk where it is there; no image is kept as an empty array."""
        path = self.out / "classical" / f"{' '.join(map(str, key))}.npy"
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            made = image()
            found = np.zeros(0) if made is None else (made.abs() if made.is_complex() else made).numpy()
            with path.with_suffix(".part").open("wb") as file:
                np.save(file, found)
            path.with_suffix(".part").rename(path)
        found = np.load(path)
        return torch.from_numpy(found) if found.size else None


if __name__ == "__main__":
    main()
