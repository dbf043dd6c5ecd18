"""What `train` and `finetune` share. Imported when one of them runs."""

import shlex
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from pipelines.cli.terminal import print_json
from recon_core.errors import InputError
from recon_core.training.run import Precision, Run

if TYPE_CHECKING:
    from recon_core.training.train import Trained


def require_lightning(command: str) -> None:
    """Raises InputError where the packages that training needs are not installed."""
    missing = [name for name in ("lightning", "tensorboard") if find_spec(name) is None]
    if missing:
        raise InputError(
            f"{command}: expected the packages of training, got no {' and no '.join(missing)}; "
            "run `pip install reconstream[train]`"
        )


def chosen_run(
    out: Path, recipe: str, origin: str, resume: bool, precision: str, n_devices: int, n_workers: int
) -> Run:
    """Where and how to train, by the command line's options. Raises InputError for an unknown precision."""
    try:
        known_precision: Precision = msgspec.convert(precision, Precision)
    except msgspec.ValidationError as error:
        raise InputError(
            f"--precision: expected 32-true, bf16-mixed or 16-mixed, got '{precision}'; choose one"
        ) from error
    return Run(
        out=out,
        recipe_text=recipe,
        recipe_origin=origin,
        command=shlex.join(["reconstream", *sys.argv[1:]]),
        resume=resume,
        precision=known_precision,
        n_devices=n_devices or "auto",
        n_workers=n_workers,
    )


def print_trained(results: Sequence["Trained"], compared: str, as_json: bool) -> None:
    """Scores on held-out slices, what is `compared` first, and where each package lies."""
    if as_json:
        print_json([{"package": result.package.folder, "held_out": result.judgement} for result in results])
        return
    for result in results:
        print(f"{'held-out data':24}{'':10}{'PSNR':>10}{'SSIM':>9}{'NMSE':>10}")
        for source, scores in result.judgement.items():
            for method in dict.fromkeys(("fallback", compared, "model")):
                psnr, ssim, nmse = (scores[metric][method] for metric in ("psnr", "ssim", "nmse"))
                name = {"before": "before", "model": "after" if compared == "before" else "model"}.get(
                    method, method
                )
                print(f"{source:24}{name:10}{psnr:7.2f} dB{ssim:9.4f}{nmse:10.5f}")
        print(f"{result.package.id}, {result.package.manifest.terms}: {result.package.folder}")
