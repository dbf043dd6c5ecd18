"""Networks with a guide are trained, from the weights of a package too, and say what guided them."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from recon_core.engine.package import load_package
from recon_core.errors import RecipeError
from recon_core.training.recipe import recipe_from_toml, shipped_training_recipes
from recon_core.training.slices import Slice
from recon_core.training.train import train
from tests.recon_core.training.tiny import tiny_recipe, tiny_run, tiny_slices

NETWORK = """
[network]
architecture = "ARCHITECTURE"
config = CONFIG

[simulation]
matrices = [[32, 24]]
n_coils = [1]

[sampling]
patterns = ["gaussian_lines"]
accelerations = [3]
calibration = [4]

[[source]]
name = "heads"
files = ["head*.npz"]
licence = "CC0"
terms = "permissive"
anatomy = "brain"
contrast = "T1"
guided_by = ["knees"]

[[source]]
name = "knees"
files = ["knee*.npz"]
licence = "own"
terms = "research"
anatomy = "brain"
contrast = "T2"
guided_by = ["heads"]
"""
UNGUIDED = "{ n_cascades = 2, widths = [6, 8], wavelet_iterations = 3 }"
GUIDED = "{ n_cascades = 2, widths = [6, 8], wavelet_iterations = 3, guide_widths = [4, 6] }"
MANET = "{ n_levels = 2, n_features = 8, growth = 4 }"
STAGE = """
[[stage]]
name = "only"
epochs = 2
batch_size = 2
steps_per_epoch = 3
"""


def recipe_text(name: str, architecture: str, config: str) -> str:
    head = f'name = "{name}"\nabout = "A network too small for use"\nn_judged = 1\n'
    return head + NETWORK.replace("ARCHITECTURE", architecture).replace("CONFIG", config)


def slices() -> list[Slice]:
    """Two "contrasts" of one head, which are different places, at the same positions."""
    return [found for found in tiny_slices() if found.anatomy == "brain"] + [
        Slice(
            data=found.data.sqrt(),
            kind="magnitude",
            subject=found.subject,
            position=found.position,
            anatomy="brain",
            contrast="T2",
            source="knees",
        )
        for found in tiny_slices()
        if found.anatomy == "brain"
    ]


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folder of models, with a trained unguided cascade."""
    monkeypatch.setenv("RECONSTREAM_MODELS", str(tmp_path / "models"))
    (tmp_path / "run").mkdir()
    (trained,) = train(
        tiny_recipe(STAGE, recipe_text("base", "unrolled", UNGUIDED)), slices(), tiny_run(tmp_path / "run")
    )
    (tmp_path / "models").mkdir()
    trained.package.folder.rename(tmp_path / "models" / "base")
    return tmp_path / "models"


def test_guidance_is_added_to_a_package_s_network_which_stays_what_it_was(
    models: Path, tmp_path: Path
) -> None:
    stage = STAGE + 'start = "model:base"\ntrains = "guidance"\naveraging = 0.9\n'
    recipe = tiny_recipe(stage, recipe_text("guided", "guided_cascade", GUIDED))
    (trained,) = train(recipe, slices(), tiny_run(tmp_path))
    manifest = trained.package.manifest
    assert manifest.ranges.guides == ("T1", "T2", "any")
    assert {found.name for found in manifest.training.data} == {"heads", "knees"}
    assert set(trained.judgement["heads"]["psnr"]) == {"model", "fallback", "without guide", "wrong guide"}
    before = load_package(models / "base").network().state_dict()
    after = load_file(tmp_path / "package.training" / "only" / "weights.safetensors")
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert any(bool(after[name].any()) for name in after if name.endswith("scale_and_shift.weight"))


def test_manet_learns_by_the_loss_of_its_four_terms(tmp_path: Path) -> None:
    stage = STAGE + "loss = { hybrid = 1.0 }\n"
    (trained,) = train(tiny_recipe(stage, recipe_text("manet", "manet", MANET)), slices(), tiny_run(tmp_path))
    assert trained.package.manifest.ranges.guides == ("T1", "T2", "any")


def test_guidance_of_a_network_without_and_unknown_guides_are_refused(tmp_path: Path) -> None:
    recipe = tiny_recipe(STAGE + 'trains = "guidance"\n', recipe_text("base", "unrolled", UNGUIDED))
    with pytest.raises(RecipeError, match="guidance parameters"):
        train(recipe, slices(), tiny_run(tmp_path))
    text = recipe_text("manet", "manet", MANET).replace('["knees"]', '["feet"]') + STAGE
    with pytest.raises(RecipeError, match="feet"):
        recipe_from_toml(text, "here")


@pytest.mark.parametrize(
    "name", ["guided_cascade", "guided_manet", "feature_maps", "feature_maps_mdcn", "feature_maps_dense_unet"]
)
def test_shipped_recipes_of_guides_and_feature_maps_are_there(name: str) -> None:
    recipe_from_toml(shipped_training_recipes()[name], name)
