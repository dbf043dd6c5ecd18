"""Guides show the same view as the target, but for what is meant to be wrong with them."""

from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
import torch

from recon_core.nets.undersampled import Undersampled
from recon_core.phantom import head_phantom
from recon_core.training.draws import Draws
from recon_core.training.examples import Examples
from recon_core.training.guidance import Guidance, guided_view, unseen_contrast, with_spots
from recon_core.training.sampling import Sampling
from recon_core.training.simulation import Simulation, fading
from recon_core.training.slices import Slice
from recon_core.training.sources import Source, read_slices

CLEAN: dict[str, Any] = {
    "absent": 0.0,
    "wrong": 0.0,
    "synthetic": 0.0,
    "spotted": 0.0,
    "partial": 0.0,
    "shift": 0.0,
    "tilt_rad": 0.0,
    "resolution": (1.0, 1.0),
    "snr": (1e6, 1e6),
}
MATRIX = (48, 40)


@lru_cache
def head(z_mm: float, contrast: str = "T1") -> Slice:
    data = head_phantom((60, 60), z_mm=z_mm)
    return Slice(
        data=data if contrast == "T1" else data.sqrt(),
        kind="magnitude",
        subject="phantom",
        position=int(z_mm),
        anatomy="brain",
        contrast=contrast,
        source=contrast,
    )


@lru_cache
def view(seed: int = 0, *, best: bool = False, **changes: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """The guide that a slice should have, which is its own square root, and the one that it has."""
    target, contrasts, others = head(0), [head(0, "T2")], [head(z) for z in (-40.0, 40.0)]
    simulation = Simulation(gamma=(1.0, 1.0))
    guidance = Guidance(**(CLEAN | changes))
    image, guide = guided_view(
        target, contrasts, others, MATRIX, guidance, simulation, Draws(seed), best=best
    )
    expected = image.sqrt() * fading((image.shape[0], image.shape[1]))
    return torch.nn.functional.interpolate(expected[None, None], MATRIX, mode="area")[0, 0], guide


def correlation(one: torch.Tensor, other: torch.Tensor) -> float:
    return float(torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1])


@pytest.mark.parametrize("seed", range(3))
def test_a_right_guide_shows_the_view_of_its_target(seed: int) -> None:
    expected, guide = view(seed)
    assert guide.shape == MATRIX
    assert correlation(expected, guide) > 0.97


@pytest.mark.parametrize(
    "changes", [{"wrong": 1.0}, {"shift": 6.0}, {"tilt_rad": 0.5}, {"snr": (0.5, 0.5)}, {"spotted": 1.0}]
)
def test_what_is_meant_to_be_wrong_with_a_guide_is(changes: dict[str, Any]) -> None:
    wrong = [correlation(*view(seed, **changes)) for seed in range(3)]
    right = [correlation(*view(seed)) for seed in range(3)]
    assert sum(wrong) / 3 < sum(right) / 3 - 0.02


def test_an_absent_guide_is_zero_and_held_out_slices_have_the_best() -> None:
    assert not view(absent=1.0)[1].any()
    worst = {"absent": 1.0, "wrong": 1.0, "spotted": 1.0, "synthetic": 1.0}
    expected, guide = view(best=True, **worst)
    assert correlation(expected, guide) > 0.97


def test_a_partial_guide_ends_in_a_straight_edge_beyond_which_it_is_zero() -> None:
    for seed in range(4):
        guide, whole = view(seed, partial=1.0, snr=(20.0, 20.0))[1], view(seed, snr=(20.0, 20.0))[1]
        rows, columns = guide.any(1), guide.any(0)
        covered = rows[:, None] & columns
        assert covered.float().mean() >= 0.5
        assert not covered.all()
        assert torch.equal(guide[covered], whole[covered])


def test_noise_of_a_guide_is_rician() -> None:
    """In air, with nothing else, the magnitude of two noisy parts has the mean of Rayleigh's law."""
    clean, noisy = (view(snr=(snr, snr))[1] for snr in (1e6, 5.0))
    air = noisy[clean < 0.01 * clean.mean()]
    assert len(air) > 100
    torch.testing.assert_close(air.mean(), clean.mean() / 5 * (torch.pi / 2) ** 0.5, rtol=0.1, atol=0)


def test_an_unseen_contrast_is_a_function_of_brightness_with_dark_air() -> None:
    brightness = torch.linspace(0, 1, 101).repeat(2)
    contrasts = [unseen_contrast(brightness, Draws(seed)) for seed in range(20)]
    assert all(float(c[0]) < 1e-6 and torch.equal(c[:101], c[101:]) for c in contrasts)
    n_monotone = sum(bool((c[:101].diff() >= 0).all()) for c in contrasts)
    assert n_monotone < 10


def test_spots_change_few_pixels_and_no_air() -> None:
    image = head(0).data
    changed = (with_spots(image, Draws(1)) - image).abs() > 0.02
    assert 0 < float(changed.float().mean()) < 0.3
    assert not changed[image == 0].any()


def examples(guidance: Guidance | None, slices: list[Slice], **part: Any) -> Examples:
    return Examples(
        slices,
        ("brain",),
        Simulation(matrices=(MATRIX,), n_coils=(4,)),
        Sampling(patterns=("random_lines",), accelerations=(2,), calibration=(12,)),
        spirit_kernel_width=0,
        batch_size=3,
        part=part.get("part", "train"),
        seed=0,
        guidance=guidance,
        guided_by={"T1": ("T2",), "T2": ("T1",)},
    )


def test_examples_bring_guides_for_networks_that_want_them() -> None:
    slices = [head(z, contrast) for z in (0.0, 5.0, 10.0) for contrast in ("T1", "T2")]
    guided, unguided = examples(Guidance(), slices)[4, 0], examples(None, slices)[4, 0]
    assert isinstance(guided.undersampled, Undersampled)
    assert isinstance(unguided.undersampled, Undersampled)
    assert guided.undersampled.guide is not None
    assert guided.undersampled.guide.shape == (3, *MATRIX)
    assert unguided.undersampled.guide is None
    again = examples(Guidance(), slices)[4, 0].undersampled
    assert isinstance(again, Undersampled)
    assert again.guide is not None
    assert torch.equal(again.guide, guided.undersampled.guide)


def test_the_guide_of_an_example_lies_where_the_scan_has_the_object() -> None:
    batch = examples(Guidance(**CLEAN), [head(0, c) for c in ("T1", "T2")], part="test").example(
        head(0), "key"
    )
    assert isinstance(batch.undersampled, Undersampled)
    assert batch.undersampled.guide is not None
    magnitude = batch.target.abs()
    assert correlation(magnitude / magnitude.max(), batch.undersampled.guide.square()) > 0.8


def test_the_real_contrasts_of_one_subject_pair_up(shared_data: Path) -> None:
    sources = [
        Source(
            name=name,
            files=("brain_multicontrast_t1_pd_mt.npz",),
            arrays=name,
            slice_axis=2,
            every=16,
            licence="MIT",
            terms="permissive",
            anatomy="brain",
            contrast=name,
            guided_by=tuple({"T1w", "PDw", "MTw"} - {name}),
        )
        for name in ("T1w", "PDw")
    ]
    slices = read_slices(sources, [shared_data / "images"])
    places = {
        s.name: {(f.subject, f.position, f.data.shape) for f in slices if f.source == s.name} for s in sources
    }
    assert len(places["T1w"] & places["PDw"]) >= 3
