"""`reconstream demo`: the whole path on simulated data."""

from pathlib import Path
from typing import Annotated

import typer

from pipelines.cli.options import AsJson


def demo(
    out: Annotated[Path, typer.Option(help="Directory for the images.")] = Path("demo"),
    as_json: AsJson = False,
) -> None:
    """Simulate a scan, stream it through a server over TCP, and compare its images with the truth."""
    import logging

    from pipelines.cli.terminal import print_json
    from pipelines.demo import run_demo

    logger = logging.getLogger("reconstream")
    if logger.level == logging.WARNING:
        logger.setLevel(logging.ERROR)  # zero filling is meant to alias here
    result = run_demo(out)
    if as_json:
        print_json(result)
        return
    print(
        f"Simulated head: {result.scan}.\n{result.megabytes:.0f} MB over TCP to a server on this machine.\n"
    )
    print(f"{'recipe':29}{'first byte to':>15}{'last readout':>15}{'NRMSE':>9}{'PSNR':>10}{'SSIM':>8}")
    print(f"{'':29}{'last image':>15}{'to last image':>15}")
    for trial in result.trials:
        print(
            f"{trial.title:29}{trial.first_byte_to_last_image_s:13.2f} s"
            f"{1e3 * trial.last_readout_to_image_s:12.0f} ms"
            f"{trial.nrmse:9.4f}{trial.psnr_db:7.1f} dB{trial.ssim:8.4f}"
        )
    for trial in result.trials:
        if trial.fallback:
            print(f"\n{trial.recipe} fell back: {trial.fallback}")
    print("\nErrors are against the simulated object as noise-whitened coils see it, intensity scale fitted.")
    print(f"Images: {out}/RECIPE.h5 (ISMRMRD) and {out}/RECIPE.png.")
    print(f"Truth, reconstructions and errors side by side: {result.comparison}")
