"""Phases as images have them, for images that come without."""

import math

import torch

from recon_core.training.draws import Draws

MAX_BOWL_RAD = 2.0
MAX_RIPPLE_RAD = 1.0
MAX_SPOT_RAD = 5.0
MAX_TISSUE_RAD = 1.5
MAX_ECHO_SHIFT = 1.5
N_NODES = 9


def tissue_phase(image: torch.Tensor, draws: Draws, strength: float = 1.0) -> torch.Tensor:
    """exp(iφ) of a gradient-echo or spin-echo slice, `(y, x)` complex64, of an image of magnitude up to one.

    φ adds up a constant; a ramp (an echo off centre by up to `MAX_ECHO_SHIFT` samples); a bowl and ripples
    (transmit field, eddy currents, shim); up to three spots of off-resonance, narrow and steep, as above
    sinuses and beside bowel gas; and a share of the magnitude, for tissues differ in phase as they do in
    brightness. `strength` scales all but the constant.
    """
    shape = image.shape
    y, x = (torch.linspace(-1, 1, n) for n in shape)
    y, x = y[:, None], x[None, :]
    ramp_y, ramp_x = (math.pi * draws.uniform(-MAX_ECHO_SHIFT, MAX_ECHO_SHIFT) for _ in range(2))
    bowl = draws.uniform(-MAX_BOWL_RAD, MAX_BOWL_RAD)
    phase = ramp_y * y + ramp_x * x + bowl * (y.square() + x.square())
    nodes = draws.uniform(0, MAX_RIPPLE_RAD) * draws.normal(1, 1, N_NODES, N_NODES)
    phase += torch.nn.functional.interpolate(nodes, shape, mode="bicubic", align_corners=True)[0, 0]
    for _ in range(draws.integer(0, 3)):
        centre_y, centre_x = draws.uniform(-0.7, 0.7), draws.uniform(-0.7, 0.7)
        width = draws.log_uniform(0.05, 0.4)
        away = ((y - centre_y).square() + (x - centre_x).square()) / (2 * width**2)
        phase += draws.uniform(-MAX_SPOT_RAD, MAX_SPOT_RAD) * torch.exp(-away)
    phase += draws.uniform(-MAX_TISSUE_RAD, MAX_TISSUE_RAD) * image.abs()
    phase = strength * phase + draws.uniform(-math.pi, math.pi)
    return torch.polar(torch.ones(shape), phase)


def sinusoidal_phase(shape: tuple[int, int], draws: Draws, strength: float = 1.0) -> torch.Tensor:
    """exp(iφ) with φ = π a sin(ω_y y + ω_x x), `(y, x)` complex64; for natural images.

    Dar et al. 2020, doi:10.1002/mrm.28148: sinusoids of random spatial frequency along each axis in
    (−π, π), amplitude between 0 and 1. *Open* there, chosen here: the frequencies are per eighth of the field
    of view, so that the phase does not alternate from pixel to pixel; the amplitude is in units of π; a
    sinusoid starts at a random phase.
    """
    y, x = (torch.linspace(-4, 4, n) for n in shape)
    angular_y, angular_x = (draws.uniform(-math.pi, math.pi) for _ in range(2))
    start, amplitude = draws.uniform(0, 2 * math.pi), draws.uniform()
    phase = (
        strength * math.pi * amplitude * torch.sin(angular_y * y[:, None] + angular_x * x[None, :] + start)
    )
    return torch.polar(torch.ones(shape), phase)
