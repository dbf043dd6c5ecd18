"""Feature maps to learn from: pairs stay pairs, whatever is done to them."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recon_core.engine.package import load_package
from recon_core.errors import InputError
from recon_core.nets.feature_maps import FeatureMaps
from recon_core.training.feature_examples import FeatureExamples
from recon_core.training.slices import Slice
from recon_core.training.sources import Source, read_slices
from recon_core.training.train import train
from tests.recon_core.training.tiny import tiny_recipe, tiny_run

RECIPE = """
name = "maps"
about = "A network too small for use"
n_judged = 1

[network]
architecture = "mdcn"
config = { n_maps = 3, n_blocks = 1, growth = 4, residual = true }

[simulation]
matrices = [[16, 12]]

[sampling]
patterns = ["radial"]

[[source]]
name = "chests"
files = ["chest*.npz"]
kind = "feature_maps"
licence = "CC0"
terms = "permissive"
anatomy = "cardiac"
contrast = "T1"

[split]
held_out = 0.34
gap = 0
"""
STAGE = """
[[stage]]
name = "only"
loss = { mae = 1.0, weights = 1e-4, absolute_weights = 1e-4 }
epochs = 2
batch_size = 2
steps_per_epoch = 3
"""


def maps(n_slices: int = 6, shape: tuple[int, int] = (20, 20)) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn(n_slices, 3, *shape, dtype=torch.complex64, generator=generator)


def slices() -> list[Slice]:
    truth = maps()
    return [
        Slice(
            data=torch.stack([2 * one, one]),
            kind="feature_maps",
            subject="chest",
            position=number,
            anatomy="cardiac",
            contrast="T1",
            source="chests",
        )
        for number, one in enumerate(truth)
    ]


def examples(**changes: object) -> FeatureExamples:
    arguments = {"matrix": (16, 12), "batch_size": 2, "part": "train", "seed": 0} | changes
    return FeatureExamples(slices(), ("cardiac",), **arguments)  # type: ignore[arg-type]


def test_pieces_of_input_and_target_are_seen_the_same_way() -> None:
    every = [examples()[step, 0] for step in range(6)]
    for batch in every:
        assert isinstance(batch.undersampled, FeatureMaps)
        assert batch.target.shape == (2, 3, 16, 12)
        torch.testing.assert_close(batch.undersampled.maps, 2 * batch.target)
    assert not torch.equal(every[0].target, every[1].target)
    assert torch.equal(every[3].target, examples()[3, 0].target)


def test_each_coefficient_has_a_phase_of_its_own() -> None:
    whole = examples(matrix=(20, 20))[0, 0].target
    powers = whole.abs().square().sum((-2, -1))
    known = maps().abs().square().sum((-2, -1))
    for of_slice, found in zip(whole, powers, strict=True):
        number = int((known - found).abs().sum(1).argmin())
        torch.testing.assert_close(found, known[number])
        truth = maps()[number]
        views = [truth, truth.mT]
        views = [v.flip(axes) for v in views for axes in ((), (-1,), (-2,), (-2, -1))]
        overlap = torch.stack([(v.conj() * of_slice).sum((-2, -1)) / found for v in views])
        best = overlap[overlap.abs().sum(1).argmax()]
        torch.testing.assert_close(best.abs(), torch.ones(3))
        assert float((best[0] - best[1]).abs()) > 1e-3


def test_held_out_slices_stay_whole() -> None:
    one = slices()[0]
    batch = examples(part="test").example(one, "key")
    assert torch.equal(batch.target, one.data[1:])


def test_slices_of_other_kinds_and_of_several_ranks_are_refused() -> None:
    other = Slice(data=torch.ones(2, 5, 20, 20), kind="feature_maps", subject="x", anatomy="cardiac")
    for wrong in (
        [Slice(data=torch.ones(9, 9), kind="magnitude", subject="x", anatomy="cardiac")],
        [*slices(), other],
    ):
        with pytest.raises(InputError, match="one rank and matrix"):
            FeatureExamples(wrong, ("cardiac",), matrix=(8, 8), batch_size=1, part="train", seed=0)


def test_files_hold_backprojections_and_truth(tmp_path: Path) -> None:
    source = Source(
        name="chests",
        files=("*.npz",),
        kind="feature_maps",
        licence="CC0",
        terms="permissive",
        anatomy="cardiac",
    )
    truth = maps().numpy()
    np.savez(tmp_path / "chest.npz", backprojection=2 * truth, truth=truth)
    found = read_slices([source], [tmp_path])
    assert [one.position for one in found] == list(range(6))
    assert all(torch.equal(a.data, b.data) for a, b in zip(found, slices(), strict=True))
    np.savez(tmp_path / "chest.npz", backprojection=truth[:4], truth=truth)
    with pytest.raises(InputError, match="backprojection and truth"):
        read_slices([source], [tmp_path])


def test_a_network_of_feature_maps_is_trained_judged_beside_the_backprojection_and_packaged(
    tmp_path: Path,
) -> None:
    (trained,) = train(tiny_recipe(STAGE, RECIPE), slices(), tiny_run(tmp_path))
    package = load_package(trained.package.folder)
    assert package.manifest.architecture == "mdcn"
    assert package.manifest.ranges.acceleration is None
    scores = trained.judgement["chests"]["nmse"]
    assert scores["fallback"] == pytest.approx(1.0, rel=0.01)
    assert scores["model"] < 1.2
