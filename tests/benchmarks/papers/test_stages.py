"""Stages are trained once, go on where they were interrupted, and anew where what they come from changed."""

from pathlib import Path

import msgspec
import pytest
import torch

from benchmarks.papers import stages as module
from benchmarks.papers.stages import Stages
from recon_core.training.learning import Learning
from tests.benchmarks.papers.small import small_options
from tests.recon_core.training.tiny import tiny_recipe, tiny_slices

TWO = """
[[stage]]
name = "first"
epochs = 1

[[stage]]
name = "second"
start = "first"
epochs = 1
"""


def two_stages(out: Path, rate: float = 0.01, scale: float = 1.0) -> Stages:
    recipe = tiny_recipe(TWO)
    changed = tuple(msgspec.structs.replace(stage, learning_rate=rate) for stage in recipe.stages)
    recipe = msgspec.structs.replace(recipe, stages=changed)
    return Stages(recipe, tiny_slices(), small_options(out, out, 32, scale=scale))


def weights(network: torch.nn.Module) -> torch.Tensor:
    return torch.cat([parameter.flatten() for parameter in network.parameters()])


def trained(out: Path) -> set[str]:
    return {path.name for path in (out / "stages").iterdir()}


def test_a_second_run_trains_nothing_and_has_the_same_networks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = weights(two_stages(tmp_path).network("second"))
    assert len(trained(tmp_path)) == 2
    monkeypatch.delattr(module, "fit")
    torch.testing.assert_close(weights(two_stages(tmp_path).network("second")), first, rtol=0, atol=0)


def test_another_learning_rate_is_another_stage_and_so_are_those_that_begin_with_it(tmp_path: Path) -> None:
    two_stages(tmp_path).train()
    before = trained(tmp_path)
    two_stages(tmp_path, rate=0.02).train()
    assert len(trained(tmp_path) - before) == 2


def test_an_interrupted_stage_goes_on_from_its_last_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = weights(two_stages(tmp_path / "whole", scale=4).network("first"))

    def breaks(learning: Learning) -> None:
        if learning.current_epoch == 2:
            raise OSError("power cut")

    with monkeypatch.context() as patched:
        patched.setattr(Learning, "on_train_epoch_start", breaks, raising=False)
        with pytest.raises(OSError, match="power cut"):
            two_stages(tmp_path / "cut", scale=4).train()
    torch.testing.assert_close(
        weights(two_stages(tmp_path / "cut", scale=4).network("first")), whole, rtol=0, atol=0
    )


def test_an_estimate_counts_what_is_not_on_disk(tmp_path: Path) -> None:
    assert two_stages(tmp_path).print_estimate() >= 0
    assert not (tmp_path / "stages").exists()
    two_stages(tmp_path).train()
    assert two_stages(tmp_path).print_estimate() == 0
