"""What the engine relies on, of every network that there is."""

from dataclasses import replace

import pytest
import torch

from recon_core.engine.inference import N_BAND_ROWS
from recon_core.engine.row_bands import in_row_bands
from recon_core.engine.slices import joined, single_slices
from recon_core.nets.registry import ARCHITECTURES
from recon_core.nets.undersampled import Undersampled
from tests.recon_core.engine.tiny import N_COILS, slices

every_architecture = pytest.mark.parametrize("architecture", sorted(ARCHITECTURES))


def network(architecture: str) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return ARCHITECTURES[architecture]().build().eval()


def with_kernel(batch: Undersampled) -> Undersampled:
    generator = torch.Generator().manual_seed(1)
    size = (len(batch), N_COILS, N_COILS, 7, 7)
    kernel = 0.02 * torch.randn(size, dtype=torch.complex64, generator=generator)
    return replace(batch, spirit_kernel=kernel)


@every_architecture
@torch.inference_mode()
def test_the_slices_of_a_batch_are_strangers(architecture: str) -> None:
    """Else one patient's image would depend on another's."""
    net = network(architecture)
    batch, _ = with_kernel(slices(3, shape=(33, 28))).normalised()
    every = single_slices(batch)
    stranger = replace(every[1], kspace=100 * every[1].kspace, sampled=torch.ones_like(every[1].sampled))
    company = net(joined([every[0], stranger, every[2]]))
    for i in (0, 2):
        torch.testing.assert_close(company[i], net(every[i])[0], rtol=0, atol=1e-5)
    assert not torch.allclose(company[1], net(every[1])[0], atol=1e-2)


@every_architecture
@torch.inference_mode()
def test_bands_of_rows_give_the_image_of_the_whole(architecture: str) -> None:
    net = network(architecture)
    batch, _ = with_kernel(slices(1, shape=(3 * N_BAND_ROWS + 5, 30))).normalised()
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
