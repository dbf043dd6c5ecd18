"""Attention and fusion are the paper's equations; a gate leaves alone what it should."""

import pytest
import torch

from recon_core.nets.guided_attention import (
    Attention,
    ChannelAttention,
    GatedGuidance,
    GuidedAttention,
    Order,
    SpatialAttention,
)

N = 64


def features(seed: int = 0, n: int = N) -> torch.Tensor:
    return torch.randn(2, n, 9, 8, generator=torch.Generator().manual_seed(seed))


def test_channel_attention_weighs_features_by_two_layers_of_their_maxima() -> None:
    attention, f = ChannelAttention(N), features()
    z = f.flatten(2).max(2).values
    s = 1 / (1 + torch.exp(-(z @ attention.squeeze.weight.T).clamp(min=0) @ attention.excite.weight.T))
    torch.testing.assert_close(attention(f), f * s[:, :, None, None])
    assert attention.squeeze.weight.shape == (4, N)


def test_spatial_attention_weighs_pixels_by_a_wide_convolution_of_the_largest_feature() -> None:
    attention, f = SpatialAttention(), features()
    largest = torch.nn.functional.pad(f.max(1).values, [3] * 4)
    kernel = attention.convolution.weight[0, 0]
    windows = [largest[:, y : y + 7, x : x + 7] for y in range(9) for x in range(8)]
    m = torch.stack([(window * kernel).sum((1, 2)) for window in windows])
    expected = f * torch.sigmoid(m.T.reshape(2, 1, 9, 8))
    torch.testing.assert_close(attention(f), expected)


@pytest.mark.parametrize(("order", "kinds"), [("CS", "CS"), ("SC", "SC"), ("SC-CS", "SCCS")])
def test_orders_are_of_channel_and_spatial_attention(order: Order, kinds: str) -> None:
    types = [ChannelAttention if kind == "C" else SpatialAttention for kind in kinds]
    assert [type(part) for part in Attention(N, order)] == types


def test_the_target_is_modulated_by_what_attention_leaves_of_the_guide() -> None:
    fusion, target, guide = GuidedAttention(N, "CS"), features(1), features(2)
    torch.testing.assert_close(fusion(target, guide), target * fusion.attention(guide) + target)


def trained_gate() -> GatedGuidance:
    torch.manual_seed(0)
    gated = GatedGuidance(N, 12)
    for parameter in gated.parameters():
        parameter.data.normal_(std=0.3)
    return gated


def test_new_guidance_and_guidance_without_a_guide_leave_features_as_they_are() -> None:
    target, guide = features(1), features(2, 12)
    some = torch.tensor([1.0, 0.0])[:, None, None, None]
    assert torch.equal(GatedGuidance(N, 12)(target, guide, torch.ones_like(some)), target)
    fused = trained_gate()(target, guide, some)
    assert torch.equal(fused[1], target[1])
    assert not torch.allclose(fused[0], target[0])


def test_a_closed_gate_leaves_features_as_they_are() -> None:
    gated, target = trained_gate(), features(1)
    assert gated.gate.bias is not None
    gated.gate.bias.data.fill_(-1e3)
    torch.testing.assert_close(gated(target, features(2, 12), torch.ones(2, 1, 1, 1)), target)
