"""The guided cascade is the unguided one but for what guidance has learned."""

from dataclasses import replace

import pytest
import torch

from recon_core.masks import random_lines
from recon_core.nets.registry import build
from recon_core.nets.undersampled import Undersampled
from recon_core.simulate import simulate_acquisition

SMALL = {"n_cascades": 2, "widths": (8, 12), "wavelet_iterations": 5}
GUIDE = {"guide_widths": (6, 8)}


@pytest.fixture(scope="module")
def scan() -> Undersampled:
    sampled = random_lines((46, 42), 3, n_calibration=10)
    simulated = simulate_acquisition((46, 42), 4, oversampling=1)
    guide = simulated.ground_truth[0].abs().sqrt()
    slices = Undersampled(
        kspace=simulated.kspace[:, :, 0] * sampled,
        sampled=sampled[None],
        coil_maps=simulated.coil_maps[:, :, 0],
        guide=guide,
    )
    return slices.normalised()[0]


def networks() -> tuple[torch.nn.Module, torch.nn.Module]:
    """The unguided one as if trained, and a new guided one with its weights."""
    torch.manual_seed(0)
    unguided = build("unrolled", SMALL).eval()
    for parameter in unguided.parameters():
        parameter.data += 0.03 * torch.randn_like(parameter)
    guided = build("guided_cascade", SMALL | GUIDE).eval()
    missing, unexpected = guided.load_state_dict(unguided.state_dict(), strict=False)
    assert not unexpected
    assert all(name.startswith("guidance.") for name in missing)
    return unguided, guided


@torch.no_grad()
def test_new_guidance_changes_no_bit_of_the_cascade_whose_weights_it_is_added_to(scan: Undersampled) -> None:
    unguided, guided = networks()
    assert torch.equal(guided(scan), unguided(scan))


@torch.no_grad()
def test_without_a_guide_guidance_makes_no_difference_and_with_one_it_does(scan: Undersampled) -> None:
    unguided, guided = networks()
    assert scan.guide is not None
    for name, parameter in guided.named_parameters():
        if name.startswith("guidance."):
            parameter += 0.1 * torch.randn_like(parameter)
    without = unguided(scan)
    assert torch.equal(guided(replace(scan, guide=None)), without)
    torch.testing.assert_close(guided(replace(scan, guide=torch.zeros_like(scan.guide))), without)
    assert not torch.allclose(guided(scan), without, atol=1e-3)


def test_guidance_learns_where_there_is_a_guide(scan: Undersampled) -> None:
    _, guided = networks()
    for _ in range(3):  # what starts at zero passes gradients on once it is none
        guided.zero_grad()
        guided(scan).abs().square().sum().backward()
        with torch.no_grad():
            for parameter in guided.parameters():
                assert parameter.grad is not None
                parameter -= 1e-3 * parameter.grad.sign()
    assert all(bool(parameter.grad.any()) for parameter in guided.parameters() if parameter.grad is not None)
