"""`train` and `finetune` from the command line, and raw scans as what they learn from."""

import json
import subprocess
import sys
from dataclasses import replace
from importlib.util import find_spec as real_find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pipelines.cli import app, main
from pipelines.training_sources import raw_slices
from recon_core.coils.combine import rss
from recon_core.engine.package import load_package
from recon_core.errors import InputError
from recon_core.fourier import ifft
from recon_core.training.examples import Examples
from recon_core.training.sampling import Sampling
from recon_core.training.simulation import Simulation
from tests.pipelines.test_importers_arrays import fastmri_file
from tests.recon_core.training.tiny import HEAD, STAGE, tiny_slices

RECIPE = HEAD[: HEAD.index('[[source]]\nname = "knees"')] + STAGE.replace("epochs = 3", "epochs = 1")


@pytest.fixture(autouse=True)
def few_batches_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon_core.training.packaging.N_SEEN", 4)


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a recipe and with images, the working directory."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    (tmp_path / "tiny.toml").write_text(RECIPE)
    (tmp_path / "images").mkdir()
    volume = np.stack([found.data.numpy() for found in tiny_slices()[:12]])
    np.savez(tmp_path / "images" / "head.npz", volume=volume)
    return tmp_path


def command(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["reconstream", *arguments])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


def test_train_then_finetune(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "train", "tiny.toml", "--data", "images", "--out", "first") == 0
    out = capsys.readouterr().out
    assert "fallback" in out
    assert out.splitlines()[-1] == "tiny@1, permissive: first"
    assert load_package(desk / "first").manifest.training.command.startswith("reconstream train tiny.toml")

    options = ("--data", "images", "--out", "second", "--epochs", "8", "--learning-rate", "5e-3", "--json")
    assert command(monkeypatch, "finetune", "first", *options) == 0
    (result,) = json.loads(capsys.readouterr().out)
    scores = result["held_out"]["images"]
    assert scores["nmse"]["model"] <= scores["nmse"]["before"]
    assert load_package(desk / "second").id == "tiny@1+images"


@pytest.mark.usefixtures("desk")
def test_a_failure_is_one_line(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(monkeypatch, "train", "no_such", "--data", "images", "--out", "first") == 1
    assert command(monkeypatch, "train", "tiny.toml", "--data", "elsewhere", "--out", "first") == 1
    options = ("--data", "images", "--out", "first", "--precision", "8")
    assert command(monkeypatch, "train", "tiny.toml", *options) == 1
    unknown, elsewhere, precision = capsys.readouterr().err.splitlines()
    assert "d5c5_aspin" in unknown
    assert "give their folder as --data" in elsewhere
    assert "bf16-mixed" in precision


def test_where_nothing_can_be_written_is_said_before_data_are_read(
    desk: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "train", "tiny.toml", "--data", "images", "--out", "first") == 0
    capsys.readouterr()
    (desk / "half.training").mkdir()
    monkeypatch.setattr("recon_core.training.sources.read_slices", lambda *_: pytest.fail("data were read"))
    for begin in (("train", "tiny.toml"), ("finetune", "first")):
        for out in ("first", "tiny.toml/second", "half"):
            assert command(monkeypatch, *begin, "--data", "images", "--out", out) == 1
        exists, unwritable, earlier = capsys.readouterr().err.splitlines()
        assert "expected a new path" in exists
        assert "expected a path that can be written" in unwritable
        assert "expected no earlier training there" in earlier


@pytest.mark.usefixtures("desk")
def test_without_lightning_the_remedy_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def find_spec(name: str, *more: Any) -> Any:
        return None if name == "lightning" else real_find_spec(name, *more)

    monkeypatch.setattr("pipelines.cli.training.find_spec", find_spec)
    assert command(monkeypatch, "train", "tiny.toml", "--data", "images", "--out", "first") == 1
    assert "pip install reconstream[train]" in capsys.readouterr().err


def test_lightning_waits_until_something_is_trained() -> None:
    code = "import sys, pipelines.cli, pipelines.reconstruction; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert {"train", "finetune"} <= {
        c.name or c.callback.__name__ for c in app.registered_commands if c.callback
    }


def test_raw_slices_are_the_scan_whitened_or_as_it_is(shared_data: Path) -> None:
    (found,) = raw_slices(shared_data / "raw" / "brain_8ch_230x180.h5")
    assert (found.kind, found.data.shape) == ("kspace", (8, 230, 180))
    image = rss(ifft(found.data, (-2, -1)), -3)
    assert float(image[60:170, 50:130].mean()) > 5 * float(image[:20, :20].mean())


def test_fastmri_slices_lose_oversampling_and_empty_lines(tmp_path: Path) -> None:
    generator = np.random.default_rng(0)
    array = generator.standard_normal((2, 3, 24, 20)) + 1j * generator.standard_normal((2, 3, 24, 20))
    array[..., :3] = array[..., 17:] = 0
    slices = list(raw_slices(fastmri_file(tmp_path / "knee.h5", array.astype(np.complex64))))
    assert [found.data.shape for found in slices] == [(3, 14, 12)] * 2
    assert [found.position for found in slices] == [0, 1]


def test_an_undersampled_scan_is_refused(simulated_file: Path) -> None:
    with pytest.raises(InputError, match="gaps"):
        list(raw_slices(simulated_file))


def test_real_scans_make_batches_of_one_shape_with_maps_of_their_own(shared_data: Path) -> None:
    names = ("brain_8ch_230x180", "brain_16ch_96x96", "brain_4ch_mprage_256x256")
    slices = [replace(s, anatomy="brain") for n in names for s in raw_slices(shared_data / "raw" / f"{n}.h5")]
    examples = Examples(
        slices,
        ("brain",),
        Simulation(),
        Sampling(patterns=("equispaced_lines",), accelerations=(2.0,)),
        spirit_kernel_width=7,
        batch_size=2,
        part="train",
        seed=0,
    )
    shapes = set()
    for step in range(8):
        batch = examples[step, 0]
        shapes.add(batch.undersampled.kspace.shape[1:])
        assert batch.undersampled.coil_maps is not None
        assert batch.undersampled.spirit_kernel is not None
        assert batch.target.shape == (2, *batch.undersampled.kspace.shape[2:])
        assert bool(torch.isfinite(batch.target.abs()).all())
    assert len(shapes) > 1
