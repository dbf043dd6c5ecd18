"""Instance normalisation that is fast for channels-last features on a CPU."""

import torch
from torch.nn.functional import batch_norm


def instance_norm(
    features: torch.Tensor, weight: torch.Tensor | None = None, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """γ (h − μ) / σ + β, with mean and standard deviation of each channel of each slice.

    That is the batch norm of each slice alone, which torch computes ten times faster in that order of memory
    than `torch.nn.functional.instance_norm`.
    """
    slices = torch.split(features, 1)
    normalised = [batch_norm(one, None, None, weight, bias, training=True) for one in slices]
    return normalised[0] if len(normalised) == 1 else torch.cat(normalised)
