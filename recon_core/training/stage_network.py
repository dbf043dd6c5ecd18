"""A stage's network: built, given the weights it starts from, and told which of them may change."""

from collections.abc import Iterator, Mapping
from typing import Any

import torch

from recon_core.errors import InputError, RecipeError
from recon_core.nets.registry import ARCHITECTURES, build
from recon_core.training.draws import Draws
from recon_core.training.recipe import Stage

Weights = Mapping[str, torch.Tensor]


def spirit_kernel_width(architecture: str) -> int:
    """Of the SPIRiT kernels that the architecture's networks want; 0 for none."""
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"network: expected one of {', '.join(sorted(ARCHITECTURES))}, got '{architecture}'; correct it"
        )
    return ARCHITECTURES[architecture].spirit_kernel_width


def stage_network(
    architecture: str, config: Mapping[str, Any], stage: Stage, seed: int, start: Weights | None
) -> torch.nn.Module:
    """The network as the stage begins. The same seed and stage, the same new weights.

    Raises RecipeError where nothing of `start` fits.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(Draws("weights", seed, stage.name).integer(0, 2**31 - 1))
        network = build(architecture, config)
    if start is not None:
        own = network.state_dict()
        fitting = {k: v for k, v in start.items() if k in own and own[k].shape == v.shape}
        if not fitting:
            raise RecipeError(
                f"stage '{stage.name}': expected weights of '{stage.start}' that fit, got none; "
                "its network must be of the same kind"
            )
        network.load_state_dict(fitting, strict=False)
    return network


def trained_parameters(
    network: torch.nn.Module, stage: Stage, anatomies: tuple[str, ...]
) -> Iterator[torch.nn.Parameter]:
    """Those that the stage may change. Raises RecipeError for a network that has none of the kind."""
    if stage.trains == "all":
        chosen = list(network.parameters())
    elif stage.trains == "guidance":
        guidance = getattr(network, "guidance", None)
        chosen = [] if guidance is None else list(guidance.parameters())
    elif stage.trains == "subnetwork":
        subnetworks = getattr(network, "subnetworks", None)
        if subnetworks is None or not 1 <= (stage.depth or 0) <= len(subnetworks):
            raise RecipeError(
                f"stage '{stage.name}': expected a network with a sub-network {stage.depth}, got "
                f"{type(network).__name__}; train all of it"
            )
        chosen = list(subnetworks[(stage.depth or 0) - 1].parameters())
    else:
        chosen = _switched(network, stage, anatomies)
    if not chosen:
        raise RecipeError(f"stage '{stage.name}': expected {stage.trains} parameters, got a network without")
    yield from chosen


def _switched(network: torch.nn.Module, stage: Stage, anatomies: tuple[str, ...]) -> list[torch.nn.Parameter]:
    try:
        if stage.trains == "shared":
            return list(network.shared_parameters())  # type: ignore[operator]
        return [p for anatomy in anatomies for p in network.specific_parameters(anatomy)]  # type: ignore[operator]
    except (AttributeError, InputError) as error:
        raise RecipeError(
            f"stage '{stage.name}': expected a network with parameters of {', '.join(anatomies)}, got: "
            f"{error}; name them in the network's config"
        ) from error
