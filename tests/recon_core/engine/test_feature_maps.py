"""Feature maps go through packages, gate and engine as undersampled slices do."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import pytest
import torch

from recon_core.engine import package
from recon_core.engine.engine import Engine
from recon_core.engine.gate import Measured, covering, outside, unchecked
from recon_core.engine.package import write_package
from recon_core.engine.slices import joined, likeness, single_slices
from recon_core.engine.store import ModelStore
from recon_core.errors import EngineError, InputError, OutOfRange
from recon_core.nets.feature_maps import FeatureMaps
from recon_core.nets.registry import build
from tests.recon_core.engine.tiny import slices, tiny_manifest, tiny_package

CONFIG = {"n_maps": 3, "growth": 4, "n_blocks": 2}


def maps(n_slices: int = 2, shape: tuple[int, int] = (24, 20), seed: int = 0) -> FeatureMaps:
    generator = torch.Generator().manual_seed(seed)
    both = torch.randn(2, n_slices, 3, *shape, dtype=torch.complex64, generator=generator)
    normals = tuple(partial(torch.mul, 1.0 + number) for number in range(n_slices))
    return FeatureMaps(maps=both[0], adjoint=both[1], normals=normals)


@pytest.fixture(params=["mdcn", "subspace_cascade"])
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelStore:
    tiny_package(tmp_path / "tiny")
    monkeypatch.setattr(package, "build", build)
    measured = [Measured.of(maps(seed=seed).normalised()[0]) for seed in range(3)]
    manifest = msgspec.structs.replace(
        tiny_manifest(name="maps", architecture=request.param, config=CONFIG),
        ranges=covering(measured, anatomies=("heart",), contrasts=("T1",), masks=("radial",)),
    )
    torch.manual_seed(0)
    write_package(tmp_path / "maps", build(request.param, CONFIG), manifest)
    return ModelStore(tmp_path, tmp_path / "added")


@pytest.fixture
def engine(store: ModelStore) -> Iterator[Engine]:
    with Engine(store=store) as engine:
        yield engine


def test_the_engine_gives_the_network_s_maps_at_the_intensity_of_the_data(engine: Engine) -> None:
    scan = maps()
    brighter = replace(scan, maps=200 * scan.maps, adjoint=200 * scan.adjoint)  # type: ignore[operator]
    done = engine.reconstruct("maps", brighter, anatomy="heart", contrast="T1")
    normalised, scale = brighter.normalised()
    with torch.inference_mode():
        expected = engine.package("maps").network()(normalised) * scale[:, None, None, None]
    torch.testing.assert_close(done.image, expected)
    assert done.unchecked == ()


@pytest.mark.parametrize("store", ["subspace_cascade"], indirect=True)
def test_an_engine_of_its_own_process_gives_the_same_bits(store: ModelStore, engine: Engine) -> None:
    here = engine.reconstruct("maps", maps()).image
    with Engine(store=store, own_process=True) as elsewhere:
        assert torch.equal(elsewhere.reconstruct("maps", maps()).image, here)


def test_a_warm_up_is_of_as_many_maps_as_the_network_takes(engine: Engine) -> None:
    engine.warm_up("maps", (16, 16))


def test_the_gate_holds_matrix_and_intensity_against_the_package(engine: Engine) -> None:
    ranges = engine.package("maps").manifest.ranges
    assert (ranges.acceleration, ranges.n_coils, ranges.noise_level) == (None, None, None)
    with pytest.raises(OutOfRange, match="matrix size 40 is outside 20 to 24"):
        engine.reconstruct("maps", maps(shape=(40, 24)))
    scan = maps()
    scan.maps[0, 0, 0, 0] = 1e4
    (reason,) = outside(ranges, Measured.of(scan.normalised()[0]))
    assert "intensity" in reason
    assert unchecked(ranges, Measured.of(scan)) == ("anatomy", "contrast")
    scan.maps[0, 0, 0, 0] = torch.nan
    with pytest.raises(EngineError, match="not finite"):
        engine.reconstruct("maps", scan)


def test_a_model_is_given_what_its_network_takes(engine: Engine) -> None:
    with pytest.raises(InputError, match="expected FeatureMaps, got Undersampled"):
        engine.reconstruct("maps", slices())


def test_slices_taken_apart_and_joined_keep_their_own_normal_operators() -> None:
    batch = maps(3)
    again = joined([*single_slices(batch)[::-1]])
    assert again.normals == batch.normals[::-1]  # type: ignore[index]
    assert torch.equal(again.maps, batch.maps.flip(0))
    assert likeness(again) == likeness(batch) != likeness(replace(batch, normals=None))
