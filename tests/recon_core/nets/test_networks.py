"""Laws of every network, by its name in the registry."""

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from recon_core import fourier
from recon_core.errors import InputError
from recon_core.nets.registry import build
from recon_core.nets.switched import SwitchedNetwork
from recon_core.nets.undersampled import Undersampled, reconstruct
from tests.recon_core.nets.small_scan import undersampled_slices, with_a_map_of_one

ANATOMIES = ["brain", "knee"]
SWITCHED: list[tuple[str, dict[str, Any]]] = [
    ("d5c5", {"n_cascades": 2, "n_features": 4, "anatomies": ANATOMIES}),
    *(
        ("dccnn", {"n_cascades": 2, "n_features": 4, "learner": learner, "anatomies": ANATOMIES})
        for learner in ("pn1", "pn2", "pn3", "pn4")
    ),
    *(
        ("unet", {"n_features": 2, "learner": learner, "anatomies": ANATOMIES})
        for learner in ("pn1", "pn2", "pn3", "pn4")
    ),
]
SHARING_ALL: list[tuple[str, dict[str, Any]]] = [
    ("d5c5", {"n_cascades": 2, "n_features": 4}),
    ("dccnn", {"n_cascades": 2, "n_features": 4}),
    ("dccnn", {"n_cascades": 2, "n_features": 4, "learner": "pn4_shared"}),
    ("unet", {"n_features": 2}),
    *(
        ("calibrated_cascade", {"n_subnetworks": 2, "n_features": 4, "output": output})
        for output in ("real_and_imaginary", "complex", "magnitude")
    ),
]


def ready(name: str, config: dict[str, Any]) -> SwitchedNetwork:
    """With random values in place of zeros, and evaluating, as a trained network is."""
    torch.manual_seed(1)
    network = build(name, config)
    assert isinstance(network, SwitchedNetwork)
    for key, values in network.state_dict().items():
        if values.is_floating_point() and ("norm" in key or "specific" in key):
            values.copy_(
                0.5 + torch.rand_like(values) if values.ndim == 1 else 0.3 * torch.randn_like(values)
            )
    return network.eval()


def anatomy_of(network: SwitchedNetwork) -> str | None:
    return network.anatomies[0] if network.anatomies else None


@pytest.fixture(
    params=SWITCHED + SHARING_ALL, ids=lambda case: "-".join(map(str, [case[0], *case[1].values()]))
)
def network(request: pytest.FixtureRequest) -> Iterator[SwitchedNetwork]:
    with torch.inference_mode():
        yield ready(*request.param)


@pytest.fixture(params=SWITCHED, ids=lambda case: f"{case[0]}-{case[1].get('learner', 'aspin')}")
def switched(request: pytest.FixtureRequest) -> SwitchedNetwork:
    return ready(*request.param)


def calibrated(slices: Undersampled) -> Undersampled:
    """With the kernel that takes each coil from the others' mean, as data of real coils never have it."""
    n_slices, n_coils = slices.kspace.shape[:2]
    kernel = torch.zeros(n_slices, n_coils, n_coils, 3, 3, dtype=torch.complex64)
    kernel[..., 1, 1] = (1 - torch.eye(n_coils)) / (n_coils - 1)
    return replace(slices, spirit_kernel=kernel)


def test_a_coil_of_map_one_is_a_single_coil(network: SwitchedNetwork) -> None:
    single = undersampled_slices()
    image = network(single, anatomy_of(network))
    torch.testing.assert_close(network(with_a_map_of_one(single), anatomy_of(network)), image)


def test_samples_of_a_single_coil_are_kept(network: SwitchedNetwork) -> None:
    single = undersampled_slices()
    image = network(single, anatomy_of(network))
    kspace = fourier.fft(image, (-2, -1))[:, None]
    torch.testing.assert_close(torch.where(single.sampled[:, None], kspace, 0), single.kspace)
    assert image.shape == (2, 20, 17)
    assert image.dtype == torch.complex64


def test_intensity_of_the_image_follows_that_of_the_data(network: SwitchedNetwork) -> None:
    slices = calibrated(undersampled_slices(3))
    brighter = replace(slices, kspace=slices.kspace * 300)
    image = reconstruct(network, slices, anatomy_of(network))
    scaled = reconstruct(network, brighter, anatomy_of(network))
    torch.testing.assert_close(scaled, 300 * image, atol=1e-2, rtol=1e-4)


def test_slices_of_several_coils_do_not_see_each_other(network: SwitchedNetwork) -> None:
    slices = calibrated(undersampled_slices(3))
    together = network(slices, anatomy_of(network))
    assert slices.coil_maps is not None
    assert slices.spirit_kernel is not None
    for number in range(2):
        one = slice(number, number + 1)
        alone = Undersampled(
            kspace=slices.kspace[one],
            sampled=slices.sampled[one],
            coil_maps=slices.coil_maps[one],
            spirit_kernel=slices.spirit_kernel[one],
        )
        torch.testing.assert_close(network(alone, anatomy_of(network))[0], together[number])


@pytest.mark.parametrize("training", [True, False])
def test_half_precision_of_convolutions_leaves_a_complex64_image_nearby(
    network: SwitchedNetwork, training: bool
) -> None:
    slices = calibrated(undersampled_slices(3))
    image = network(slices, anatomy_of(network))
    with torch.set_grad_enabled(training), torch.autocast("cpu", dtype=torch.bfloat16):
        rounded = network(slices, anatomy_of(network))
    assert rounded.dtype == torch.complex64
    assert 0 < (rounded - image).norm() < 0.05 * image.norm()


def test_adding_an_anatomy_changes_no_bit_of_the_others(switched: SwitchedNetwork) -> None:
    slices = undersampled_slices(3)
    with torch.inference_mode():
        before = {anatomy: switched(slices, anatomy) for anatomy in ANATOMIES}
        n_before = sum(parameter.numel() for parameter in switched.parameters())
        switched.add_anatomy("prostate")
        after = {anatomy: switched(slices, anatomy) for anatomy in ANATOMIES}
        assert switched(slices, "prostate").isfinite().all()
    for anatomy in ANATOMIES:
        assert torch.equal(before[anatomy], after[anatomy])
    assert not torch.equal(before["brain"], before["knee"])
    n_added = sum(parameter.numel() for parameter in switched.specific_parameters("prostate"))
    assert sum(parameter.numel() for parameter in switched.parameters()) == n_before + n_added > n_before


def test_gradients_reach_what_is_shared_and_what_is_the_anatomy_s_own(switched: SwitchedNetwork) -> None:
    switched.train()
    image = switched(undersampled_slices(3), "knee")
    torch.view_as_real(image).square().sum().backward()
    assert all(parameter.grad is not None for parameter in switched.specific_parameters("knee"))
    assert all(parameter.grad is not None for parameter in switched.shared_parameters())
    assert all(parameter.grad is None for parameter in switched.specific_parameters("brain"))


@pytest.mark.parametrize("anatomy", ["foot", None])
def test_an_anatomy_unknown_or_left_open_is_refused_with_the_known_ones(
    switched: SwitchedNetwork, anatomy: str | None
) -> None:
    with pytest.raises(InputError, match="brain, knee"):
        switched(undersampled_slices(), anatomy)


def test_the_only_anatomy_needs_no_name() -> None:
    network = ready("d5c5", {"n_cascades": 1, "n_features": 2, "anatomies": ["knee"]})
    slices = undersampled_slices()
    assert torch.equal(network(slices), network(slices, "knee"))


@pytest.mark.parametrize("name", ["knee", "Knee", "left knee", "a.b", "", "keys"])
def test_names_taken_or_unfit_are_refused(name: str) -> None:
    network = ready("d5c5", {"n_cascades": 1, "n_features": 2, "anatomies": ["knee"]})
    with pytest.raises(InputError, match="anatomy"):
        network.add_anatomy(name)


def test_a_network_that_shares_all_takes_no_anatomy_of_its_own() -> None:
    network = ready("d5c5", {"n_cascades": 1, "n_features": 2})
    with pytest.raises(InputError, match="shares all"):
        network.add_anatomy("knee")
    assert list(network.specific_parameters("knee")) == []


@pytest.mark.parametrize(
    ("name", "config", "message"),
    [
        ("resnet", {}, "calibrated_cascade, d5c5, dccnn"),
        ("d5c5", {"n_cascade": 3}, "n_cascades.* got .*n_cascade"),
        ("dccnn", {"learner": "pn5"}, "pn5"),
        ("unet", {"n_levels": 0}, ">= 1.*n_levels"),
        ("unet", {"consistency_weight": -1.0}, ">= 0.*consistency_weight"),
    ],
)
def test_unknown_names_and_fields_are_refused(name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        build(name, config)
