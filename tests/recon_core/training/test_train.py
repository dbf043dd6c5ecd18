"""Training: the same weights from the same seed, whatever happens; each stage changes what it may."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recon_core.engine.package import load_package
from recon_core.errors import InputError
from recon_core.training.evaluation import judged, table
from recon_core.training.examples import Examples
from recon_core.training.learning import Learning
from recon_core.training.split import split_slices
from recon_core.training.train import train
from tests.recon_core.training.tiny import HEAD, STAGE, tiny_recipe, tiny_run, tiny_slices

Weights = dict[str, torch.Tensor]
SWITCHED = HEAD.replace("n_features = 4", 'n_features = 4, anatomies = ["brain", "knee"]')
SPECIFIC = "normalisations"


def trained(
    folder: Path, stages: str = STAGE, head: str = HEAD, stage: str = "only", n_workers: int = 0
) -> Weights:
    folder.mkdir(exist_ok=True)
    train(tiny_recipe(stages, head), tiny_slices(), tiny_run(folder, n_workers=n_workers))
    return load_file(folder / "package.training" / stage / "weights.safetensors")


def equal(one: Weights, other: Weights) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def changed(one: Weights, other: Weights) -> set[str]:
    return {name for name in one if not torch.equal(one[name], other[name])}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> Weights:
    return trained(tmp_path_factory.mktemp("uninterrupted"))


@pytest.mark.parametrize("n_workers", [0, 2])
def test_the_same_seed_gives_the_same_weights_with_any_workers(
    tmp_path: Path, uninterrupted: Weights, n_workers: int
) -> None:
    assert equal(trained(tmp_path, n_workers=n_workers), uninterrupted)


def test_another_seed_gives_other_weights(tmp_path: Path, uninterrupted: Weights) -> None:
    assert changed(trained(tmp_path, head=HEAD.replace("seed = 3", "seed = 4")), uninterrupted)


def interrupt(folder: Path, monkeypatch: pytest.MonkeyPatch, stages: str = STAGE) -> None:
    """Train, up to the last epoch."""

    def breaks(learning: Learning) -> None:
        if learning.current_epoch == 2:
            raise OSError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(Learning, "on_train_epoch_start", breaks, raising=False)
        with pytest.raises(OSError, match="power cut"):
            trained(folder, stages)


@pytest.mark.parametrize("n_workers", [0, 1])
def test_a_resumed_training_ends_with_the_weights_of_one_that_was_not_interrupted(
    tmp_path: Path, uninterrupted: Weights, monkeypatch: pytest.MonkeyPatch, n_workers: int
) -> None:
    interrupt(tmp_path, monkeypatch)
    with pytest.raises(InputError, match="--resume"):
        trained(tmp_path)
    train(tiny_recipe(), tiny_slices(), tiny_run(tmp_path, resume=True, n_workers=n_workers))
    assert equal(load_file(tmp_path / "package.training" / "only" / "weights.safetensors"), uninterrupted)


def test_running_means_of_weights_and_falling_rates_go_on_where_they_were_interrupted(
    tmp_path: Path, uninterrupted: Weights, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages = STAGE + 'averaging = 0.8\nschedule = "cosine"\nwarm_up_steps = 2\nlargest_gradient = 1.0\n'
    whole = trained(tmp_path / "whole", stages)
    assert changed(whole, uninterrupted) == set(whole)
    resumed = tmp_path / "resumed"
    resumed.mkdir()
    interrupt(resumed, monkeypatch, stages)
    train(tiny_recipe(stages), tiny_slices(), tiny_run(resumed, resume=True))
    assert equal(load_file(resumed / "package.training" / "only" / "weights.safetensors"), whole)


def test_the_package_states_data_terms_ranges_and_scores(tmp_path: Path) -> None:
    (result,) = train(tiny_recipe(), tiny_slices(), tiny_run(tmp_path))
    manifest = load_package(tmp_path / "package").manifest
    assert manifest == result.package.manifest
    assert manifest.terms == "research"
    assert [(d.name, d.licence) for d in manifest.training.data] == [("heads", "CC0"), ("knees", "own")]
    assert manifest.ranges.anatomies == ("brain", "knee")
    assert manifest.ranges.matrix == (24, 32)
    assert set(manifest.metrics) == {"heads", "knees"}
    assert set(manifest.metrics["heads"]["psnr"]) == {"model", "fallback"}


def test_terms_are_those_of_the_anatomies_trained_on(tmp_path: Path) -> None:
    stage = STAGE + 'anatomies = ["brain"]\n'
    (result,) = train(tiny_recipe(stage), tiny_slices(), tiny_run(tmp_path))
    assert result.package.manifest.terms == "permissive"


def test_training_makes_held_out_slices_better(tmp_path: Path) -> None:
    stage = STAGE.replace("epochs = 3", "epochs = 1").replace("0.01", "0.004")
    stage = stage.replace("steps_per_epoch = 4", "steps_per_epoch = 200")
    head = HEAD.replace("n_features = 4", "n_features = 8").replace(
        "n_coils = [1]", "n_coils = [1]\naugment = false\nphase = 0.3"
    )
    recipe = tiny_recipe(stage, head)
    (result,) = train(recipe, tiny_slices(), tiny_run(tmp_path))
    _, held_out = split_slices(tiny_slices(), recipe.split)
    examples = Examples(
        held_out,
        ("brain", "knee"),
        recipe.simulation,
        recipe.sampling,
        spirit_kernel_width=0,
        batch_size=1,
        part="test",
        seed=3,
    )
    scores = table(result.package.network(), judged(held_out, examples, 8), ("zero-filled",))
    for source in ("heads", "knees"):
        assert scores[source]["nmse"]["model"] < 0.9 * scores[source]["nmse"]["zero-filled"]


def test_parameters_of_an_anatomy_step_on_its_own_batches_only(tmp_path: Path) -> None:
    """Not even weight decay moves them on another's."""
    decay = STAGE + "weight_decay = 0.1\n"
    start = trained(
        tmp_path / "start", decay.replace("learning_rate = 0.01", "learning_rate = 0.0"), SWITCHED
    )
    brain = trained(tmp_path / "brain", decay + 'anatomies = ["brain"]\n', SWITCHED)
    both = trained(tmp_path / "both", decay, SWITCHED)
    knee = {name for name in start if ".knee." in name}
    assert knee
    assert changed(start, brain) == set(start) - knee
    assert changed(start, both) == set(start)


TWO_STAGES = """
[[stage]]
name = "first"
epochs = 1
steps_per_epoch = 2
{first}

[[stage]]
name = "only"
start = "first"
epochs = 1
steps_per_epoch = 2
{second}
"""


@pytest.mark.parametrize(("kind", "is_specific"), [("specific", True), ("shared", False)])
def test_a_warm_up_changes_what_it_is_told_to(tmp_path: Path, kind: str, is_specific: bool) -> None:
    stages = TWO_STAGES.format(first="", second=f'trains = "{kind}"')
    after = trained(tmp_path, stages, SWITCHED)
    before = load_file(tmp_path / "package.training" / "first" / "weights.safetensors")
    assert changed(before, after) == {name for name in before if (SPECIFIC in name) == is_specific}


def test_a_stage_starts_from_what_fits_of_an_earlier_network(tmp_path: Path) -> None:
    """The plain network's convolutions go into one with normalisations."""
    stages = TWO_STAGES.format(
        first="", second='trains = "specific"\nconfig = { anatomies = ["brain", "knee"] }'
    )
    after = trained(tmp_path, stages)
    before = load_file(tmp_path / "package.training" / "first" / "weights.safetensors")
    assert not any(SPECIFIC in name for name in before)
    assert not changed(before, {name: after[name] for name in before})


def test_distillation_takes_its_teachers_into_account(tmp_path: Path) -> None:
    teachers = 'teachers = { brain = "first", knee = "first" }\nconfig = { anatomies = ["brain", "knee"] }\n'
    alone = trained(tmp_path / "alone", TWO_STAGES.format(first="", second=teachers), HEAD)
    taught = trained(
        tmp_path / "taught",
        TWO_STAGES.format(first="", second=teachers + "loss = { mae = 1, attention = 1 }\n"),
        HEAD,
    )
    assert changed(alone, taught)


CASCADE = (
    HEAD.replace(
        'architecture = "d5c5"\nconfig = { n_cascades = 2, n_layers = 4, n_features = 4 }',
        'architecture = "calibrated_cascade"\nconfig = { n_subnetworks = 2, n_layers = 1, n_features = 4 }',
    )
    .replace("n_coils = [1]", "n_coils = [3]\nestimated = 0.0")
    .replace("accelerations = [3]\ncalibration = [4]", "accelerations = [2]\ncalibration = [14]")
)


def test_sub_networks_are_trained_one_after_the_other_then_all(tmp_path: Path) -> None:
    stages = TWO_STAGES.format(
        first='trains = "subnetwork"\ndepth = 1', second='trains = "subnetwork"\ndepth = 2'
    ).replace('name = "only"', 'name = "second"')
    stages += '[[stage]]\nname = "only"\nstart = "second"\nsteps_per_epoch = 2\n'
    after = trained(tmp_path, stages, CASCADE)
    first, second = (
        load_file(tmp_path / "package.training" / name / "weights.safetensors")
        for name in ("first", "second")
    )
    assert {name.split(".")[1] for name in changed(first, second)} == {"1"}
    assert changed(second, after) == set(after)


def test_a_network_computes_in_bfloat16_where_told_and_learns(tmp_path: Path) -> None:
    train(tiny_recipe(), tiny_slices(), replace(tiny_run(tmp_path), precision="bf16-mixed"))
    weights = load_file(tmp_path / "package.training" / "only" / "weights.safetensors")
    assert all(w.dtype == torch.float32 and bool(w.isfinite().all()) for w in weights.values())


def test_what_lies_there_is_not_overwritten(tmp_path: Path) -> None:
    (tmp_path / "package").mkdir()
    with pytest.raises(InputError, match="move it"):
        trained(tmp_path)


def test_a_training_is_not_resumed_with_another_recipe(tmp_path: Path) -> None:
    (tmp_path / "package.training").mkdir()
    (tmp_path / "package.training" / "recipe.toml").write_text("another")
    with pytest.raises(InputError, match="another"):
        train(tiny_recipe(), tiny_slices(), tiny_run(tmp_path, resume=True))


def test_training_leaves_the_process_as_it_was(tmp_path: Path) -> None:
    trained(tmp_path)
    assert not torch.are_deterministic_algorithms_enabled()
