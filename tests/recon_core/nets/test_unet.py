import pytest

from recon_core.errors import InputError
from recon_core.nets.unet import UNet, UNetNetwork
from tests.recon_core.nets.counts import n_held, n_values
from tests.recon_core.nets.small_scan import undersampled_slices

N_FASTMRI = 7_756_097
"""Parameters of fastMRI's U-Net of 32 features, for one channel in and out."""


def n_convolution_values() -> int:
    """As ours has them: a channel more at both ends, and no bias at the end."""
    return N_FASTMRI - 1 + 32 * 9 + 32


def test_convolutions_are_those_of_the_fastmri_network_for_two_channels() -> None:
    network = UNet(learner="pn1", anatomies=("brain",)).build()
    assert isinstance(network, UNetNetwork)
    assert n_values(network.shared_parameters()) == n_convolution_values() == 7_756_416


def test_each_anatomy_has_a_norm_of_every_convolution_and_none_of_the_transposed() -> None:
    n_features = 2 * (32 + 64 + 128 + 256) * 2 + 2 * 512 + 2
    network = UNet(learner="pn1", anatomies=("brain", "knee")).build()
    assert n_held(network) == n_convolution_values() + 2 * 4 * n_features
    assert n_held(UNet().build()) == n_convolution_values() + 4 * n_features


@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (20, 33)])
def test_slices_of_any_shape_from_sixteen_on_keep_it(shape: tuple[int, int]) -> None:
    assert UNet(n_features=2).build()(undersampled_slices(shape=shape)).shape == (2, *shape)


def test_slices_too_small_to_be_halved_so_often_are_refused() -> None:
    with pytest.raises(InputError, match="at least 16 x 16, got \\(20, 15\\)"):
        UNet(n_features=2).build()(undersampled_slices(shape=(20, 15)))
