import torch

from recon_core.nets.d5c5 import D5C5, D5C5Network
from tests.recon_core.nets.counts import n_held, n_values
from tests.recon_core.nets.small_scan import undersampled_slices


def test_the_plain_network_has_the_parameters_of_the_paper() -> None:
    assert n_held(D5C5().build()) == 144_650


def test_each_anatomy_has_one_aspin_set_of_ones_and_zeros() -> None:
    network = D5C5(anatomies=("brain", "knee")).build()
    assert isinstance(network, D5C5Network)
    assert n_values(network.shared_parameters()) == 144_650
    for anatomy in ("brain", "knee"):
        own = list(network.specific_parameters(anatomy))
        assert n_values(own) == 1_280
        assert sum(float(parameter.detach().sum()) for parameter in own) == 640
    assert n_held(network) == 144_650 + 2 * 1_280


def test_features_for_distillation_are_those_behind_the_third_relu_of_each_cascade() -> None:
    network = D5C5(n_cascades=2, n_features=4, anatomies=("brain",)).build()
    assert isinstance(network, D5C5Network)
    slices = undersampled_slices()
    image, features = network.forward_with_features(slices)
    assert torch.equal(image, network(slices))
    assert len(features) == 2
    x = torch.view_as_real(slices.zero_filled()).permute(0, 3, 1, 2)
    for convolution in list(network.cascades[0].convolutions)[:3]:
        x = torch.relu(torch.nn.functional.instance_norm(convolution(x)))
    torch.testing.assert_close(features[0], x)
