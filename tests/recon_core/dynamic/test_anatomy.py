"""Subjects: tissues with published properties, whole hearts, no two alike; made of real images too."""

from pathlib import Path

import numpy as np
import pytest
import torch

from recon_core.dynamic.anatomy import N_T1_VALUES, Anatomy
from recon_core.dynamic.chest_phantom import chest_phantom
from recon_core.dynamic.image_anatomy import cine_anatomy, labelled_anatomy
from recon_core.dynamic.tissues import Tissue, t1_ms
from recon_core.errors import InputError
from recon_core.training.draws import Draws


def median_t1_ms(anatomy: Anatomy, tissue: Tissue) -> float:
    return float(anatomy.t1_ms[anatomy.tissue == tissue].median())


@pytest.mark.parametrize("field_strength_t", [1.5, 3.0])
def test_every_tissue_is_there_with_its_t1(field_strength_t: float) -> None:
    anatomy = chest_phantom(128, Draws(2), field_strength_t=field_strength_t)
    for tissue in set(Tissue) - {Tissue.AIR}:
        assert median_t1_ms(anatomy, tissue) == pytest.approx(t1_ms(tissue, field_strength_t), rel=0.15)
    assert len(anatomy.t1_ms.unique()) <= N_T1_VALUES
    assert not anatomy.density[anatomy.tissue == Tissue.AIR].any()
    assert (anatomy.heart.radii_mm.diff(dim=0) > 0).all()


def test_every_subject_fits_the_view_and_no_two_are_alike() -> None:
    subjects = [chest_phantom(96, Draws(seed)) for seed in range(6)]
    for anatomy in subjects:
        edges = torch.cat([anatomy.tissue[[0, -1]], anatomy.tissue[:, [0, -1]].mT])
        assert not edges.any()
    assert len({tuple(anatomy.tissue.flatten().tolist()) for anatomy in subjects}) == 6
    assert torch.equal(subjects[3].t1_ms, chest_phantom(96, Draws(3)).t1_ms)


def test_contours_are_where_the_tissues_change() -> None:
    anatomy = chest_phantom(200, Draws(5))
    y_mm, x_mm = anatomy.heart.centre_mm
    radii_mm = anatomy.heart.radii_mm
    for k in range(0, 128, 16):
        angle_rad = torch.tensor(2 * torch.pi * k / 128)
        wall_mm = (radii_mm[0, k] + radii_mm[1, k]) / 2
        place = torch.tensor([y_mm, x_mm]) + wall_mm * torch.stack([angle_rad.sin(), angle_rad.cos()])
        row, column = (place / 300 * 200 + 100).round().long().tolist()
        assert anatomy.tissue[row, column] == Tissue.MYOCARDIUM


def drawn() -> tuple[torch.Tensor, torch.Tensor]:
    """A bright ventricle in a grey wall in a grey body, and its labels."""
    places = torch.stack(torch.meshgrid(torch.arange(90) - 45, torch.arange(120) - 60, indexing="ij"))
    body, distance = (places[0] / 40) ** 2 + (places[1] / 52) ** 2, places.float().norm(dim=0)
    image = 0.3 * (body < 1).float() + 0.7 * (distance < 10)
    labels = 2 * (distance < 15).byte() + (distance < 10).byte()
    return image, labels


def test_labels_become_contours_and_tissues() -> None:
    image, labels = drawn()
    anatomy = labelled_anatomy(image, labels, 240, Draws(0), fov_mm=240.0)
    torch.testing.assert_close(anatomy.heart.radii_mm[0], torch.full((128,), 20.0), rtol=0, atol=1.5)
    torch.testing.assert_close(anatomy.heart.radii_mm[1], torch.full((128,), 30.0), rtol=0, atol=1.5)
    assert anatomy.tissue[120, 120] == Tissue.BLOOD
    assert anatomy.tissue[120, 120 + 25] == Tissue.MYOCARDIUM
    assert anatomy.tissue[120, 120 + 50] == Tissue.MUSCLE
    assert anatomy.tissue[0, 0] == Tissue.AIR


def test_a_cine_beats_where_it_changes() -> None:
    image, _ = drawn()
    places = torch.stack(torch.meshgrid(torch.arange(90) - 40, torch.arange(120) - 70, indexing="ij"))
    at = places.float().norm(dim=0)
    frames = torch.stack([0.3 * (image > 0) + 0.7 * (at < radius) for radius in (14.0, 11.0, 8.0)])
    anatomy = cine_anatomy(frames, 240, Draws(0), fov_mm=240.0)
    assert anatomy.heart.centre_mm == pytest.approx((-10, 20), abs=2)
    assert anatomy.tissue[110, 140] == Tissue.BLOOD


def test_what_cannot_beat_is_refused() -> None:
    image, labels = drawn()
    with pytest.raises(InputError, match=r"labels 2 .* and 3"):
        labelled_anatomy(image, labels.clamp(max=2), 64, Draws(0))
    with pytest.raises(InputError, match="and its labels"):
        labelled_anatomy(image, labels[1:], 64, Draws(0))
    with pytest.raises(InputError, match="frames that differ"):
        cine_anatomy(image.expand(3, -1, -1), 64, Draws(0))
    with pytest.raises(InputError, match="frames"):
        cine_anatomy(image, 64, Draws(0))
    with pytest.raises(InputError, match="a body that is brighter"):
        labelled_anatomy(0 * image, labels, 64, Draws(0))
    with pytest.raises(InputError, match="finite values"):
        labelled_anatomy(image / 0, labels, 64, Draws(0))
    with pytest.raises(InputError, match="finite values"):
        cine_anatomy(torch.zeros(3, 0, 5), 64, Draws(0))
    with pytest.raises(InputError, match=r"1\.5 or 3 T"):
        chest_phantom(32, Draws(0), field_strength_t=7.0)


def test_real_short_axes_and_cines_become_subjects(shared_data: Path) -> None:
    with np.load(shared_data / "images" / "cardiac_short_axis_labelled.npz") as archive:
        name = "patient004_frame01_slice_5"
        image, labels = (
            torch.from_numpy(archive[f"{kind}_{name}"].astype("f4")) for kind in ("image", "label")
        )
    with np.load(shared_data / "images" / "cardiac_cine_16_frames.npz") as archive:
        frames = torch.from_numpy(archive["images"].astype("f4"))
    for anatomy in (labelled_anatomy(image, labels, 160, Draws(0)), cine_anatomy(frames, 160, Draws(0))):
        share = torch.bincount(anatomy.tissue.flatten().long(), minlength=8) / 160**2
        assert 0.1 < share[Tissue.AIR] < 0.8
        assert 0.01 < share[Tissue.BLOOD] < 0.15
        assert 0.003 < share[Tissue.MYOCARDIUM] < 0.06
