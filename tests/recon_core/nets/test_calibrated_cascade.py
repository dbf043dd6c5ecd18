import pytest
import torch

from recon_core import fourier
from recon_core.errors import InputError
from recon_core.nets.calibrated_cascade import CalibratedCascade, CalibratedCascadeNetwork
from recon_core.nets.undersampled import Undersampled
from recon_core.spirit import calibration_consistency
from tests.recon_core.nets.counts import n_held
from tests.recon_core.nets.small_scan import undersampled_slices


def tiny(**config: object) -> CalibratedCascadeNetwork:
    network = CalibratedCascade(n_subnetworks=3, n_features=4, **config).build()  # type: ignore[arg-type]
    assert isinstance(network, CalibratedCascadeNetwork)
    return network


def calibrated_slices() -> Undersampled:
    slices = undersampled_slices(3)
    kernel = 0.1 * torch.randn(
        2, 3, 3, 5, 5, dtype=torch.complex64, generator=torch.Generator().manual_seed(4)
    )
    return Undersampled(
        kspace=slices.kspace, sampled=slices.sampled, coil_maps=slices.coil_maps, spirit_kernel=kernel
    )


@pytest.mark.parametrize(
    ("output", "n_values"), [("real_and_imaginary", 1_125_770), ("complex", 565_770), ("magnitude", 562_885)]
)
def test_sub_networks_have_four_hidden_layers_and_one_to_their_output(output: str, n_values: int) -> None:
    n_out = 2 if output == "complex" else 1
    n_of_one = (2 * 64 * 9 + 64) + 3 * (64 * 64 * 9 + 64) + (64 * n_out * 9 + n_out)
    n_networks = 10 if output == "real_and_imaginary" else 5
    assert n_held(CalibratedCascade(output=output).build()) == n_networks * n_of_one == n_values  # type: ignore[arg-type]


def test_networks_that_add_nothing_leave_the_projections_of_spirit() -> None:
    network, slices = tiny(), calibrated_slices()
    for parameter in network.parameters():
        parameter.data.zero_()
    assert slices.coil_maps is not None
    assert slices.spirit_kernel is not None
    kspace = slices.kspace
    for _ in range(3):
        consistent = calibration_consistency(kspace, slices.sampled, slices.spirit_kernel, 5)
        image = (slices.coil_maps.conj() * fourier.ifft(consistent, (-2, -1))).sum(1)
        kspace = fourier.fft(slices.coil_maps * image[:, None], (-2, -1))
        kspace = torch.where(slices.sampled[:, None], slices.kspace, kspace)
    expected = (slices.coil_maps.conj() * fourier.ifft(kspace, (-2, -1))).sum(1)
    torch.testing.assert_close(network(slices), expected)


def test_a_depth_is_the_cascade_without_the_sub_networks_beyond() -> None:
    network, slices = tiny(), calibrated_slices()
    at_two = network(slices, depth=2)
    assert not torch.equal(at_two, network(slices))
    torch.testing.assert_close(network(slices, depth=3), network(slices))
    del network.subnetworks[2]
    torch.testing.assert_close(network(slices), at_two)


def test_gradients_of_a_stage_reach_its_sub_network_through_the_consistency_of_the_others() -> None:
    network, slices = tiny(), calibrated_slices()
    torch.view_as_real(network.subnetwork_image(slices, depth=2)).square().sum().backward()
    trained = [all(p.grad is not None for p in stage.parameters()) for stage in network.subnetworks]
    assert trained == [True, True, False]


def test_a_magnitude_is_what_a_sub_network_of_one_channel_gives() -> None:
    image = tiny(output="magnitude").subnetwork_image(undersampled_slices())
    assert not image.imag.any()


@pytest.mark.parametrize("depth", [0, 4])
def test_a_depth_that_there_is_not_is_refused(depth: int) -> None:
    with pytest.raises(InputError, match="1 to 3"):
        tiny()(calibrated_slices(), depth=depth)


def test_several_coils_without_a_kernel_are_refused() -> None:
    with pytest.raises(InputError, match="SPIRiT kernel"):
        tiny()(undersampled_slices(3))
