"""`reconstream simulate`: files that other commands take."""

from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from pipelines.cli import app
from pipelines.simulated_truth import read_truth
from recon_core.dynamic.tissues import Tissue

SMALL = ("--spokes", "12", "--matrix", "24", "--coils", "2")


def simulated(*arguments: object) -> str:
    result = CliRunner().invoke(app, ["simulate", *map(str, arguments)], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


def test_a_multitasking_scan_and_its_truth_can_be_looked_into(tmp_path: Path) -> None:
    out, n_threads = tmp_path / "scan.h5", torch.get_num_threads()
    printed = simulated("multitasking", out, *SMALL, "--no-heartbeat", "--field-strength", "1.5", "--ecg")
    assert printed.split() == [str(out), str(tmp_path / "scan.truth.npz")]
    assert torch.get_num_threads() == n_threads
    inspected = CliRunner().invoke(app, ["inspect", str(out)])
    assert "goldenangle, 24 readouts" in inspected.output
    assert "simulation 1.5 T" in inspected.output
    truth = read_truth(tmp_path / "scan.truth.npz")
    assert not truth.motion.cardiac_phase.any()
    blood_t1_ms = truth.chest.anatomy.t1_ms[truth.chest.anatomy.tissue == Tissue.BLOOD].median()
    assert float(blood_t1_ms) == pytest.approx(1441, rel=0.15)


def test_seeds_are_subjects_and_one_seed_one_file(tmp_path: Path) -> None:
    contents = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        simulated("multitasking", tmp_path / f"{name}.h5", *SMALL, "--seed", seed, "--arrhythmia")
        truth = read_truth(tmp_path / f"{name}.truth.npz")
        contents.append((truth.chest.anatomy.tissue, truth.motion.r_waves_s))
    assert all(torch.equal(*pair) for pair in zip(contents[0], contents[1], strict=True))
    assert not torch.equal(contents[0][0], contents[2][0])


def test_the_anatomy_may_be_a_file(tmp_path: Path) -> None:
    y, x = np.mgrid[-30:30, -40:40]
    image = 0.3 * (np.hypot(y / 26, x / 36) < 1) + 0.7 * (np.hypot(y, x) < 9)
    np.save(tmp_path / "cine.npy", np.stack([image, np.where(np.hypot(y, x) < 9, 0.3, image)]))
    simulated("multitasking", tmp_path / "scan.h5", *SMALL, "--anatomy", tmp_path / "cine.npy")
    assert read_truth(tmp_path / "scan.truth.npz").chest.anatomy.tissue[24, 24] == Tissue.BLOOD


@pytest.mark.parametrize("kind", ["radial --spokes 9", "spiral --interleaves 3", "cartesian --slices 2"])
def test_a_still_head_comes_with_its_truth(kind: str, tmp_path: Path) -> None:
    out = tmp_path / "head.h5"
    simulated(*kind.split(), out, "--matrix", "32", "--coils", "3")
    inspected = CliRunner().invoke(app, ["inspect", str(out)])
    assert "reconstructed 32 x 32 x 1 in 240 x 240 x 3 mm" in inspected.output
    with np.load(tmp_path / "head.truth.npz") as truth:
        assert truth["ground_truth"].shape[-2:] == truth["coil_maps"].shape[-2:] == (32, 32)
        assert truth["covariance"].shape == (3, 3)


def test_feature_maps_are_what_training_reads_and_are_not_made_twice(tmp_path: Path) -> None:
    arguments = ("feature-maps", tmp_path, "--subjects", 2, "--rank", 3, "--seed", 5, *SMALL)
    paths = [tmp_path / f"subject_{seed}.npz" for seed in (5, 6)]
    paths[1].write_text("made before")
    assert simulated(*arguments).split() == [str(path) for path in paths]
    with np.load(paths[0]) as arrays:
        assert arrays["backprojection"].shape == arrays["truth"].shape == (1, 3, 24, 24)
        assert arrays["truth"].dtype == np.complex64
    assert paths[1].read_text() == "made before"
    assert len(list(tmp_path.iterdir())) == 2
