"""MANet: its two stages, two streams and ways to fuse them."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from recon_core import fourier
from recon_core.nets.guide import guide_magnitudes
from recon_core.nets.manet import MANet, MANetNetwork
from recon_core.nets.undersampled import Undersampled
from tests.recon_core.nets.counts import n_held
from tests.recon_core.nets.small_scan import undersampled_slices, with_a_map_of_one

SMALL: dict[str, Any] = {"n_features": 8, "growth": 4, "n_levels": 2}
FUSIONS = ("attention", "features", "input", "none")


def network(**config: Any) -> MANetNetwork:
    torch.manual_seed(0)
    built = MANet(**(SMALL | config)).build()
    assert isinstance(built, MANetNetwork)
    return built


def slices(n_coils: int = 1, shape: tuple[int, int] = (20, 17), seed: int = 0) -> Undersampled:
    generator = torch.Generator().manual_seed(seed)
    guide = torch.rand(2, shape[0] + 4, shape[1], generator=generator)
    return replace(undersampled_slices(n_coils, shape), guide=guide).normalised()[0]


def n_of_stream(n_in: int) -> int:
    """A Dense-UNet of 64 features and four halvings."""
    block = sum(9 * (64 + 16 * i) * 16 + 16 for i in range(4)) + 128 * 64 + 64
    up = 4 * 64 * 64 + 64 + 9 * 128 * 64 + 64
    return n_in * 64 + 64 + 9 * block + 4 * up + 64 * 2 + 2


@pytest.mark.parametrize(
    ("fusion", "n_of_stage"),
    [
        ("attention", 2 * n_of_stream(2) + 9 * (2 * 64 * 4 + 49)),
        ("features", 2 * n_of_stream(2) + 9 * (128 * 64 + 64)),
        ("input", n_of_stream(4)),
        ("none", n_of_stream(2)),
    ],
)
def test_each_stage_has_its_streams_and_a_fusion_behind_every_block(fusion: Any, n_of_stage: int) -> None:
    assert n_held(MANet(fusion=fusion).build()) == 2 * n_of_stage
    assert n_held(MANet(fusion=fusion, kspace_stage=False).build()) == n_of_stage


@pytest.mark.parametrize("fusion", FUSIONS)
def test_a_guide_makes_a_difference_but_for_the_network_of_the_target_alone(fusion: Any) -> None:
    net = network(fusion=fusion).eval()
    with torch.inference_mode():
        images = [net(one) for one in (slices(), slices(seed=1), replace(slices(), guide=None))]
    same = [torch.equal(images[0], other) for other in images[1:]]
    assert same == ([True, True] if fusion == "none" else [False, False])


@pytest.mark.parametrize("fusion", FUSIONS)
@pytest.mark.parametrize("kspace_stage", [True, False])
def test_every_parameter_learns_from_what_the_stages_give(fusion: Any, kspace_stage: bool) -> None:
    net = network(fusion=fusion, kspace_stage=kspace_stage)
    stages = net.stages(slices(3))
    assert [stage.domain for stage in stages] == ["kspace", "image"][1 - kspace_stage :]
    outputs = [out for stage in stages for out in stage[1:] if out is not None]
    sum(out.abs().sum() for out in outputs).backward()  # type: ignore[union-attr]
    assert all(parameter.grad is not None for parameter in net.parameters())


def test_networks_that_add_nothing_leave_the_zero_filled_image_and_an_empty_guide() -> None:
    net, one = network(), slices(3)
    for parameter in net.parameters():
        parameter.data.zero_()
    kspace, image = net.stages(one)
    torch.testing.assert_close(kspace.target, fourier.fft(one.zero_filled(), (-2, -1)))
    torch.testing.assert_close(image.target, one.zero_filled())
    assert image.guide is not None
    assert not image.guide.any()


def test_the_image_stage_is_given_what_the_kspace_stage_made_of_both() -> None:
    net, one = network(), slices()
    seen: list[torch.Tensor] = []
    net.image_stage.register_forward_pre_hook(lambda _, given: seen.extend(given))
    kspace, _ = net.stages(one)
    assert kspace.guide is not None
    torch.testing.assert_close(seen[0], fourier.ifft(kspace.target, (-2, -1)))
    torch.testing.assert_close(seen[1], fourier.ifft(kspace.guide, (-2, -1)))
    assert guide_magnitudes(one).shape == seen[1].shape


def test_hard_consistency_keeps_the_samples_of_a_single_coil_after_both_stages() -> None:
    one = slices()
    with torch.inference_mode():
        image = network(consistency_weight=None)(one)
        mapped = network(consistency_weight=None)(with_a_map_of_one(one))
    kspace = fourier.fft(image, (-2, -1))[:, None]
    torch.testing.assert_close(torch.where(one.sampled[:, None], kspace, 0), one.kspace, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(mapped, image, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("shape", [(16, 16), (20, 17), (9, 7)])
def test_slices_of_any_shape_keep_it(shape: tuple[int, int]) -> None:
    image = network()(slices(3, shape))
    assert image.shape == (2, *shape)
    assert image.dtype == torch.complex64
