"""What the engine relies on, of every network that there is."""

from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from recon_core.engine.inference import N_BAND_ROWS
from recon_core.engine.row_bands import in_row_bands
from recon_core.engine.slices import Slices, joined, single_slices
from recon_core.nets.feature_maps import FeatureMaps
from recon_core.nets.registry import ARCHITECTURES, build
from tests.recon_core.engine.tiny import N_COILS, slices

every_architecture = pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))
N_MAPS = 3
SMALL: dict[str, dict[str, Any]] = {
    name: {"n_maps": N_MAPS, "growth": 4}
    for name, record in ARCHITECTURES.items()
    if record.takes is FeatureMaps
}
"""Of networks whose own size would take minutes; the others are as they stand."""


def network(architecture: str) -> torch.nn.Module:
    """With random values in place of zeros, with which a new network may leave slices as they are."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = build(architecture, SMALL.get(architecture, {})).eval()
        for parameter in net.parameters():
            if not parameter.any():
                parameter.data.normal_(std=0.02)
        return net


def batch_for(architecture: str, n_slices: int, shape: tuple[int, int]) -> Slices:
    """What the architecture's networks take, of slices of noise, normalised."""
    if ARCHITECTURES[architecture].takes is FeatureMaps:
        generator = torch.Generator().manual_seed(1)
        maps, adjoint = torch.randn(2, n_slices, N_MAPS, *shape, dtype=torch.complex64, generator=generator)
        normals = tuple(partial(torch.mul, 1.0 + number) for number in range(n_slices))
        return FeatureMaps(maps=maps, adjoint=adjoint, normals=normals).normalised()[0]
    generator = torch.Generator().manual_seed(1)
    batch = slices(n_slices, shape=shape)
    size = (n_slices, N_COILS, N_COILS, 7, 7)
    kernel = 0.02 * torch.randn(size, dtype=torch.complex64, generator=generator)
    guide = torch.rand(n_slices, shape[0] + 3, shape[1], generator=generator)
    return replace(batch, spirit_kernel=kernel, guide=guide).normalised()[0]


def stranger(one: Slices) -> Slices:
    """A slice that shares nothing with `one` but its size."""
    if isinstance(one, FeatureMaps):
        return replace(one, maps=100 * one.maps.flip(-1))
    return replace(one, kspace=100 * one.kspace, sampled=torch.ones_like(one.sampled))


@every_architecture
@torch.inference_mode()
def test_the_slices_of_a_batch_are_strangers(architecture: str) -> None:
    """Else one patient's image would depend on another's."""
    net = network(architecture)
    every = single_slices(batch_for(architecture, 3, (33, 28)))
    company = net(joined([every[0], stranger(every[1]), every[2]]))
    for i in (0, 2):
        torch.testing.assert_close(company[i], net(every[i])[0], rtol=0, atol=1e-5)
    assert not torch.allclose(company[1], net(every[1])[0], atol=1e-2)


@every_architecture
@torch.inference_mode()
def test_bands_of_rows_give_the_image_of_the_whole(architecture: str) -> None:
    net = network(architecture)
    batch = batch_for(architecture, 1, (3 * N_BAND_ROWS + 5, 30))
    whole = net(batch)
    with in_row_bands(net, N_BAND_ROWS):
        torch.testing.assert_close(net(batch), whole, rtol=0, atol=1e-5)


@torch.inference_mode()
def test_the_cascades_of_d5c5_go_in_bands() -> None:
    net = network("d5c5")
    batch, _ = slices(1, shape=(3 * N_BAND_ROWS, 30)).normalised()
    with in_row_bands(net, N_BAND_ROWS) as bands:
        net(batch)
    assert bands.n_modules == 5
