"""Training recipes: those shipped can be run, and what is wrong with one is said."""

import re
from pathlib import Path

import msgspec
import pytest
import torch

from recon_core.errors import RecipeError
from recon_core.training.recipe import recipe_from_toml, shipped_training_recipes, text_of_recipe
from recon_core.training.stage_network import stage_network, trained_parameters
from tests.recon_core.training.tiny import HEAD, STAGE

SHIPPED = shipped_training_recipes()


@pytest.mark.parametrize("name", SHIPPED)
def test_every_stage_of_a_shipped_recipe_has_its_network_and_something_to_train(name: str) -> None:
    recipe = recipe_from_toml(SHIPPED[name], name)
    assert recipe.name == name
    weights: dict[str, dict[str, torch.Tensor]] = {}
    for stage in recipe.stages:
        network = stage_network(
            recipe.network.architecture, recipe.config_of(stage), stage, recipe.seed, weights.get(stage.start)
        )
        assert list(trained_parameters(network, stage, recipe.anatomies_of(stage)))
        weights[stage.name] = network.state_dict()
        for teacher in stage.teachers.values():
            assert teacher in weights


def test_the_docs_have_a_good_recipe_and_name_all_shipped_ones() -> None:
    page = (Path(__file__).parents[3] / "docs" / "training.md").read_text()
    (text,) = re.findall(r"^```toml\n(.*?)^```$", page, re.M | re.S)
    assert recipe_from_toml(text, "docs/training.md").name == "brain_network"
    assert all(f"`{name}`" in page for name in SHIPPED)


def test_mapn_starts_from_every_convolution_of_maon() -> None:
    recipe = recipe_from_toml(SHIPPED["dccnn_mapn"], "dccnn_mapn")
    mixed, warm_up, _ = (
        stage_network(recipe.network.architecture, recipe.config_of(stage), stage, recipe.seed, None)
        for stage in recipe.stages
    )
    shared = {
        name for name, p in warm_up.named_parameters() if any(p is s for s in warm_up.shared_parameters())
    }
    theirs = mixed.state_dict()
    assert shared
    assert all(theirs[name].shape == warm_up.state_dict()[name].shape for name in shared)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("terms = ", "license = "), "license"),
        (('architecture = "d5c5"', 'architecture = "d5c5"\nlayers = 3'), "layers"),
        (("epochs = 3", 'epochs = "three"'), "int"),
        (("epochs = 3", 'start = "before"'), "earlier stage"),
        (("epochs = 3", 'anatomies = ["spine"]'), "spine"),
        (("epochs = 3", "loss = { mae = 1, attention = 1 }"), "teacher"),
        (("epochs = 3", 'trains = "subnetwork"'), "depth"),
        (("epochs = 3", "loss = { weights = 1 }"), "weight of mae"),
        (("epochs = 3", "epochs = 0"), r"stage\[0\]\.epochs"),
        (("batch_size = 2", "batch_size = 0"), "batch_size"),
        (("learning_rate = 0.01", "learning_rate = -1.0"), "learning_rate"),
        (("n_judged = 1", "n_judged = 0"), "n_judged"),
        (("calibration = [4]", "calibration = [4]\nn_patterns = 0"), "n_patterns"),
        (("n_coils = [1]", "n_coils = [0]"), "n_coils"),
        (("n_coils = [1]", "n_coils = []"), "numbers of coils"),
        (("matrices = [[32, 24]]", "matrices = [[32, 0]]"), "matrices"),
        (("[simulation]", "[split]\nheld_out = 0.0\n\n[simulation]"), "held_out"),
    ],
)
def test_what_is_wrong_is_said(change: tuple[str, str], message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe_from_toml((HEAD + STAGE).replace(*change), "mine.toml")


def test_two_stages_of_one_name_are_refused() -> None:
    with pytest.raises(RecipeError, match="name of its own"):
        recipe_from_toml(HEAD + STAGE + STAGE, "mine.toml")


def test_an_unknown_name_lists_those_known() -> None:
    with pytest.raises(RecipeError, match="d5c5_aspin"):
        text_of_recipe("no_such_recipe")


def test_recipes_know_their_stages_after_a_round_trip() -> None:
    recipe = recipe_from_toml(HEAD + STAGE, "tiny")
    assert msgspec.convert(msgspec.to_builtins(recipe), type(recipe)) == recipe
