"""Displacements: none at rest, without folds, continuous, and of the size that is stated."""

import pytest
import torch

from recon_core.dynamic.anatomy import Anatomy
from recon_core.dynamic.chest_phantom import chest_phantom
from recon_core.dynamic.deformation import Deformation, Strength, organ_weight
from recon_core.dynamic.tissues import Tissue
from recon_core.training.draws import Draws


@pytest.fixture(scope="module")
def anatomy() -> Anatomy:
    return chest_phantom(160, Draws(1))


def states(*values: float) -> torch.Tensor:
    return torch.tensor(values)


def test_at_rest_everything_is_where_it_was(anatomy: Anatomy) -> None:
    deformation = Deformation(anatomy, Strength())
    origins = deformation.origins(states(0), states(0))
    torch.testing.assert_close(origins[0], deformation.places, rtol=0, atol=1e-4)
    torch.testing.assert_close(
        deformation.moved(anatomy.density, origins)[0], anatomy.density, rtol=0, atol=1e-3
    )


def test_no_state_folds_the_chest(anatomy: Anatomy) -> None:
    deformation = Deformation(anatomy, Strength(endocardium=0.34, right_ventricle=0.4, breath_mm=(13, 4)))
    contraction, breath = states(0, 0.3, 0.7, 1, 1), states(1.3, 0, 0.5, 1, -0.2)
    origins = deformation.origins(contraction, breath)
    dy, dx = (origins.diff(dim=axis) * (len(anatomy.tissue) - 1) / 2 for axis in (1, 2))
    dy, dx = dy[:, :, 1:], dx[:, 1:]
    determinant = dx[..., 0] * dy[..., 1] - dx[..., 1] * dy[..., 0]
    assert determinant.min() > 0.1


def test_a_small_change_of_state_is_a_small_displacement(anatomy: Anatomy) -> None:
    deformation = Deformation(anatomy, Strength())
    levels = torch.linspace(0, 1, 101)
    for contraction, breath in ((levels, 0 * levels), (0 * levels, levels)):
        steps = deformation.origins(contraction, breath).diff(dim=0).norm(dim=-1)
        assert steps.max() * deformation.mm < 0.24  # of ten millimetres in 100 steps


def test_the_cavity_loses_the_stated_share_of_its_area_and_the_wall_thickens() -> None:
    anatomy, strength = chest_phantom(320, Draws(1)), Strength(endocardium=0.3, epicardium=0.0)
    deformation = Deformation(anatomy, strength)
    origins = deformation.origins(states(0, 1), states(0, 0))
    origins_mm = (origins - deformation.middle).flip(-1) * deformation.mm
    distance, (inner, middle, _) = anatomy.heart.polar(origins_mm)
    cavity = (distance < inner).sum((1, 2))
    assert float(cavity[1] / cavity[0]) == pytest.approx(0.7**2, rel=0.04)
    wall = ((distance >= inner) & (distance < middle)).sum((1, 2))
    assert wall[1] > wall[0]


def test_the_skin_and_the_back_stay_while_the_heart_follows_the_breath(anatomy: Anatomy) -> None:
    weight = organ_weight(anatomy.tissue > 0, anatomy.fov_mm)
    assert weight[anatomy.tissue == Tissue.AIR].max() < 0.05
    assert weight[anatomy.tissue == Tissue.MYOCARDIUM].mean() > 0.6
    assert weight[anatomy.tissue == Tissue.MARROW].mean() < 0.3
    assert 0 <= weight.min() < weight.max() <= 1
