"""Pairs of feature maps: the backprojection is the truth as far as the spokes reach."""

import pytest
import torch

from recon_core.dynamic.bloch import InversionRecovery
from recon_core.dynamic.moving_chest import on_image_grid
from recon_core.dynamic.multitasking import MultitaskingScan, Protocol, random_subject
from recon_core.dynamic.temporal_basis import temporal_basis
from recon_core.metrics import nrmse
from recon_core.training.dynamic_examples import feature_maps_of

PROTOCOL = Protocol(
    matrix=32, n_coils=6, n_spokes=300, snr=100.0, sequence=InversionRecovery(n_pulses=40, tr_ms=30.0)
)
Pair = tuple[torch.Tensor, torch.Tensor]


@pytest.fixture(scope="module")
def scan() -> MultitaskingScan:
    return MultitaskingScan(random_subject(PROTOCOL, 2), PROTOCOL, 2)


@pytest.fixture(scope="module")
def pair(scan: MultitaskingScan) -> Pair:
    return feature_maps_of(scan, rank=6)


def test_the_backprojection_is_as_large_as_the_truth_and_near_it_where_spokes_are_many(pair: Pair) -> None:
    backprojection, truth = pair
    assert backprojection.shape == truth.shape == (6, 32, 32)
    assert nrmse(backprojection[0], truth[0]) < 0.1
    assert nrmse(backprojection[1], truth[1]) < 0.5
    scale = torch.vdot(backprojection[0].flatten(), truth[0].flatten()) / backprojection[0].norm() ** 2
    assert abs(complex(scale) - 1) < 0.05


def test_the_truth_makes_the_images_of_the_moving_chest(scan: MultitaskingScan, pair: Pair) -> None:
    kspace = torch.cat(list(scan.kspace()))[scan.is_navigator]
    rows = temporal_basis(kspace.permute(1, 2, 0), rank=6).rows * PROTOCOL.n_spokes**0.5
    navigators = torch.tensor([41, 150, 299])
    signals = scan.chest.signals(15)[scan.recovery[2 * navigators], scan.pulse[2 * navigators]]
    states = scan.motion.cardiac_phase[2 * navigators], scan.motion.respiration[2 * navigators]
    frames = on_image_grid(scan.chest.phase * scan.chest.seen(signals, *states))
    assert nrmse(torch.einsum("lyx,lt->tyx", pair[1], rows[:, navigators].to(pair[1])), frames) < 0.12
