"""Fine-tuning: a better network in a package of its own, or none."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from recon_core.engine.manifest import TrainingData
from recon_core.engine.package import ModelPackage, load_package
from recon_core.errors import InputError, ModelError
from recon_core.training.finetune import Tuning, finetune
from recon_core.training.slices import Slice
from recon_core.training.train import train
from tests.recon_core.training.tiny import HEAD, STAGE, tiny_recipe, tiny_run, tiny_slices

PLAIN = HEAD.replace("n_features = 4", "n_features = 8")
SWITCHED = HEAD.replace("n_features = 4", 'n_features = 8, anatomies = ["brain"]')
DATA = TrainingData(name="hospital", terms="research", licence="not to be passed on")


def package(folder: Path, head: str) -> ModelPackage:
    stage = STAGE.replace("epochs = 3", "epochs = 1") + 'anatomies = ["brain"]\n'
    return train(tiny_recipe(stage, head), tiny_slices(), tiny_run(folder))[0].package


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    return package(tmp_path_factory.mktemp("plain"), PLAIN)


@pytest.fixture(scope="module")
def switched(tmp_path_factory: pytest.TempPathFactory) -> ModelPackage:
    return package(tmp_path_factory.mktemp("switched"), SWITCHED)


def site_slices(anatomy: str = "brain") -> list[Slice]:
    return [replace(found, anatomy=anatomy, source="hospital") for found in tiny_slices()[:12]]


TUNING = Tuning(learning_rate=3e-3, epochs=10, batch_size=2)


def test_a_tuned_network_is_better_and_says_what_it_comes_from(plain: ModelPackage, tmp_path: Path) -> None:
    (result,) = finetune(plain, site_slices(), DATA, TUNING, tiny_run(tmp_path))
    scores = result.judgement["hospital"]
    assert scores["nmse"]["model"] < scores["nmse"]["before"]
    assert scores["psnr"]["model"] > scores["psnr"]["before"]
    manifest = load_package(tmp_path / "package").manifest
    assert manifest.name == plain.manifest.name
    assert manifest.version == f"{plain.manifest.version}+hospital"
    assert manifest.terms == "research"
    assert [d.name for d in manifest.training.data] == ["heads", "hospital"]
    assert plain.id in manifest.training.recipe


def test_one_that_became_worse_is_not_written(plain: ModelPackage, tmp_path: Path) -> None:
    ruinous = Tuning(learning_rate=10.0, epochs=1, batch_size=2)
    with pytest.raises(ModelError, match="no worse than before"):
        finetune(plain, site_slices(), DATA, ruinous, tiny_run(tmp_path))
    assert not (tmp_path / "package").exists()


def test_a_new_anatomy_leaves_what_the_network_does_of_others(switched: ModelPackage, tmp_path: Path) -> None:
    (result,) = finetune(switched, site_slices("spine"), DATA, TUNING, tiny_run(tmp_path))
    tuned = result.package
    assert tuned.manifest.config["anatomies"] == ["brain", "spine"]
    assert tuned.manifest.ranges.anatomies == ("brain", "spine")
    before, after = switched.network().state_dict(), tuned.network().state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert {name for name in after if name not in before} == {n for n in after if ".spine." in n}


def test_a_tuned_network_states_no_anatomy_it_was_not_tuned_on(plain: ModelPackage, tmp_path: Path) -> None:
    (tuned,) = finetune(plain, site_slices("spine"), DATA, TUNING, tiny_run(tmp_path))
    assert tuned.package.manifest.ranges.anatomies == ("spine",)


def test_of_several_processes_the_first_alone_judges_and_writes(
    plain: ModelPackage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert finetune(plain, site_slices(), DATA, Tuning(epochs=1), tiny_run(tmp_path)) == []
    assert not (tmp_path / "package").exists()


def test_slices_of_two_anatomies_are_refused(plain: ModelPackage, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="one anatomy"):
        finetune(plain, [*site_slices(), *site_slices("spine")], DATA, TUNING, tiny_run(tmp_path))
