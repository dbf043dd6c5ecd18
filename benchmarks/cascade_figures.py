"""Tables, verdicts and pictures of `benchmarks.cascade_on_raw`."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import torch
from PIL import Image, ImageDraw
from torch.nn.functional import pad

METRICS, N_DIGITS = ("psnr", "ssim", "psnr_rss", "ssim_rss"), (2, 4, 2, 4)
CLASSICAL = ("wavelet SENSE", "L1-SPIRiT", "fallback")
"""Both tuned ones, and the fallback, for what is best of other scans may be worse than what is shipped."""
WANTED_DB, ALLOWED_DB = 1.0, -0.3
CLAIMED = (4, 6)
AMPLIFIED = 5


@dataclass(frozen=True)
class Scored:
    """One scan at one pattern."""

    scan: str
    pattern: str
    rate: int
    seed: int
    acceleration: float
    """Grid points over samples."""
    weights: dict[str, float]
    """Of the tuned methods."""
    refusals: list[str]
    """Why the network was not asked, and its image is the fallback's."""
    scores: dict[str, list[float]]
    """By method, in the order of `METRICS`."""

    def gain(self, methods: Iterable[str], metric: str) -> float:
        """What the network is better by than the best of `methods`."""
        which = METRICS.index(metric)
        return self.scores["network"][which] - max(self.scores[method][which] for method in methods)


def figures(scored: Sequence[Scored]) -> dict[str, Any]:
    """Means and deviations over seeds by scan, pattern and rate, and what they say of the claims."""
    groups: dict[tuple[str, str, int], list[Scored]] = {}
    for one in scored:
        groups.setdefault((one.scan, one.pattern, one.rate), []).append(one)
    table = {f"{name}, {pattern}, R = {r}": _row(group) for (name, pattern, r), group in groups.items()}
    claimed = [group for (_, _, rate), group in groups.items() if rate in CLAIMED]
    rates = sorted({one.rate for one in scored})
    return {
        "verdict": {
            "R = 4 and 6": _verdict(claimed),
            **{f"R = {r}": _verdict([g for (_, _, rate), g in groups.items() if rate == r]) for r in rates},
        },
        "gain over the fallback, dB": _gains(groups, ("fallback",)),
        "gain over the best classical, dB": _gains(groups, CLASSICAL),
        "cases": table,
    }


def _row(group: list[Scored]) -> dict[str, Any]:
    by_method = {
        method: ", ".join(
            f"{metric} {_mean((one.scores[method][which] for one in group), N_DIGITS[which])}"
            for which, metric in enumerate(METRICS)
        )
        for method in group[0].scores
    }
    return {
        "acceleration": f"{fmean(one.acceleration for one in group):.2f}",
        **by_method,
        "regularisation": group[0].weights,
        "not asked": sorted({reason for one in group for reason in one.refusals}),
        "gain over the best classical": _both(group, CLASSICAL),
        "gain over the fallback": _both(group, ("fallback",)),
    }


def _verdict(groups: list[list[Scored]]) -> str:
    if not groups:
        return "not run"
    n, every = len(groups), [one for group in groups for one in group]
    by_db = sum(fmean(one.gain(CLASSICAL, "psnr") for one in group) >= WANTED_DB for group in groups)
    by_ssim = sum(fmean(one.gain(CLASSICAL, "ssim") for one in group) > 0 for group in groups)
    least = min(every, key=lambda one: one.gain(CLASSICAL, "psnr"))
    worst = min(every, key=lambda one: one.gain(("fallback",), "psnr"))
    worst_db = worst.gain(("fallback",), "psnr")
    return (
        f"{by_db} of {n} means at least {WANTED_DB:g} dB above the best classical "
        f"(all {_both(every, CLASSICAL)}; least {least.gain(CLASSICAL, 'psnr'):+.2f} dB, {_where(least)}); "
        f"{by_ssim} of {n} above it in SSIM; against the fallback {_both(every, ('fallback',))}, "
        f"worst {worst_db:+.2f} dB, {_where(worst)}: "
        f"{'never' if worst_db >= ALLOWED_DB else 'SOMEWHERE'} worse by more than {-ALLOWED_DB:g} dB"
    )


def _gains(groups: dict[tuple[str, str, int], list[Scored]], methods: Sequence[str]) -> dict[str, str]:
    """Over all scans, by pattern and rate."""
    kinds = dict.fromkeys((pattern, rate) for _, pattern, rate in groups)
    return {
        f"{pattern}, R = {rate}": _mean(
            one.gain(methods, "psnr")
            for (_, p, r), group in groups.items()
            for one in group
            if (p, r) == (pattern, rate)
        )
        for pattern, rate in kinds
    }


def _both(group: Iterable[Scored], methods: Sequence[str]) -> str:
    group = list(group)
    return (
        f"{_mean(one.gain(methods, 'psnr') for one in group)} dB, "
        f"SSIM {_mean((one.gain(methods, 'ssim') for one in group), 4)}"
    )


def _where(one: Scored) -> str:
    return f"{one.scan}, {one.pattern}, R = {one.rate}, seed {one.seed}"


def _mean(values: Iterable[float], n_digits: int = 2) -> str:
    every = list(values)
    deviation = stdev(every) if len(every) > 1 else 0.0
    return f"{fmean(every):.{n_digits}f} ± {deviation:.{n_digits}f}"


def picture(path: Path, titles: Sequence[str], rows: Sequence[Sequence[torch.Tensor]]) -> None:
    """A row for each scan: the images, the first of which is the reference, then how they differ from it."""
    side = max(max(image.shape[-2:]) for row in rows for image in row)
    lines = []
    for full, *images in rows:
        errors = [AMPLIFIED * (image - full).abs() for image in images]
        shown = [_centred(image[0] / (0.7 * full.max()), side) for image in (full, *images, *errors)]
        lines.append(torch.cat(shown, dim=1))
    montage = Image.fromarray((255 * torch.cat(lines).clamp(0, 1)).to(torch.uint8).numpy())
    draw = ImageDraw.Draw(montage)
    for i, title in enumerate((*titles, *(f"{title}: error x {AMPLIFIED}" for title in titles[1:]))):
        draw.text((side * i + 4, 2), title, fill=255)
    path.parent.mkdir(parents=True, exist_ok=True)
    montage.save(path)


def _centred(image: torch.Tensor, side: int) -> torch.Tensor:
    down, right = (side - n for n in image.shape)
    return pad(image, (right // 2, right - right // 2, down // 2, down - down // 2))
