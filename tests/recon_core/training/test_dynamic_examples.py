"""Pairs of feature maps: the backprojection is the truth as far as the spokes reach."""

import pytest
import torch

from recon_core.dynamic.bloch import InversionRecovery
from recon_core.dynamic.multitasking import MultitaskingScan, Protocol, random_subject
from recon_core.metrics import nrmse
from recon_core.training.dynamic_examples import feature_maps_of

PROTOCOL = Protocol(
    matrix=32, n_coils=6, n_spokes=300, snr=100.0, sequence=InversionRecovery(n_pulses=40, tr_ms=30.0)
)


def strongest(navigators: torch.Tensor, rank: int = 4) -> torch.Tensor:
    casorati = navigators.transpose(0, 1).flatten(1)
    return torch.linalg.svd(casorati, full_matrices=False).U[:, :rank].mT


@pytest.fixture(scope="module")
def scan() -> MultitaskingScan:
    return MultitaskingScan(random_subject(PROTOCOL, 2), PROTOCOL, 2)


@pytest.fixture(scope="module")
def pair(scan: MultitaskingScan) -> tuple[torch.Tensor, torch.Tensor]:
    return feature_maps_of(scan, strongest)


def test_the_backprojection_is_as_large_as_the_truth_and_near_it_where_spokes_are_many(
    pair: tuple[torch.Tensor, torch.Tensor],
) -> None:
    backprojection, truth = pair
    assert backprojection.shape == truth.shape == (4, 32, 32)
    assert nrmse(backprojection[0], truth[0]) < 0.1
    assert nrmse(backprojection[1], truth[1]) < 0.5
    scale = torch.vdot(backprojection[0].flatten(), truth[0].flatten()) / backprojection[0].norm() ** 2
    assert abs(complex(scale) - 1) < 0.05


def test_the_truth_is_the_fit_to_the_scans_own_navigators(
    scan: MultitaskingScan, pair: tuple[torch.Tensor, torch.Tensor]
) -> None:
    kspace = torch.cat(list(scan.kspace())).transpose(0, 1)
    basis = PROTOCOL.n_spokes**0.5 * strongest(kspace[:, scan.is_navigator])
    assert nrmse(pair[1], scan.feature_maps(basis)) < 1e-4
