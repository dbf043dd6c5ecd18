"""The demo keeps its promise: images near the truth, made quickly, left where it says."""

import json
from pathlib import Path

import ismrmrd
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from pipelines import demo
from pipelines.cli import app
from pipelines.demo import run_demo, truth_as_seen
from recon_core.fourier import ifft, resize
from recon_core.metrics import nrmse
from recon_core.simulate import simulate_acquisition


@pytest.fixture(autouse=True)
def smaller(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(demo, "MATRIX", (96, 96))
    monkeypatch.setattr(demo, "N_COILS", 8)
    monkeypatch.setattr(demo, "N_SLICES", 2)


def picture_size(path: Path) -> tuple[int, int]:
    with Image.open(path) as picture:
        return picture.size


def test_whitened_coils_see_the_truth_that_the_demo_compares_with() -> None:
    simulation = simulate_acquisition((64, 64), 8, snr=1e5)
    whitening = torch.linalg.inv(torch.linalg.cholesky(simulation.covariance))
    images = resize(ifft(simulation.kspace[0]), (64,))
    seen = torch.linalg.vector_norm(torch.einsum("vc,czyx->vzyx", whitening, images), dim=0)
    # Cropping k-space mixes neighbours before the coils weigh them: equal but for Gibbs ringing.
    assert nrmse(seen, truth_as_seen(simulation)) < 0.02


def test_parallel_imaging_comes_near_the_truth_and_zero_filling_does_not(tmp_path: Path) -> None:
    result = run_demo(tmp_path)
    by_recipe = {trial.recipe: trial for trial in result.trials}
    assert list(by_recipe) == list(demo.RECIPES)
    assert by_recipe["cartesian_fft"].nrmse > 0.15
    # GRAPPA smooths no noise, nor that of calibration lines as measured: its air is less like the truth's.
    least_ssim = {"cartesian_grappa": 0.88, "cartesian_sense": 0.9, "cartesian_cascade": 0.9}
    for recipe, least in least_ssim.items():
        assert by_recipe[recipe].nrmse < 0.08
        assert by_recipe[recipe].ssim > least
    for trial in result.trials:
        assert 0 < trial.last_readout_to_image_s <= trial.first_byte_to_last_image_s
        images_file, picture = trial.files
        with ismrmrd.Dataset(str(images_file), create_if_needed=False) as dataset:
            assert dataset.number_of_images("image_0") == 2
        assert picture_size(picture) > (96, 96)
    assert picture_size(result.comparison) == (5 * 96, 2 * 96)


def test_the_command_prints_one_screen(tmp_path: Path) -> None:
    shown = CliRunner().invoke(app, ["demo", "--out", str(tmp_path)])
    assert shown.exit_code == 0, shown.output
    assert len(shown.output.splitlines()) <= 24
    for word in ("cartesian_sense", "NRMSE", "PSNR", "SSIM", " ms", str(tmp_path / "comparison.png")):
        assert word in shown.output
    reported = CliRunner().invoke(app, ["demo", "--out", str(tmp_path), "--json"])
    assert len(json.loads(reported.stdout)["trials"]) == 4
