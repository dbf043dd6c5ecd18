"""Instance normalisation that is fast for channels-last features on a CPU."""

import torch
from torch.nn.functional import batch_norm


def instance_norm_(
    features: torch.Tensor, weight: torch.Tensor | None = None, bias: torch.Tensor | None = None
) -> torch.Tensor:
    """γ (h − μ) / σ + β, with mean and standard deviation of each channel of each slice.

    That is the batch norm of each slice alone, which torch computes ten times faster in that order of memory
    than `torch.nn.functional.instance_norm`. Overwrites `features` where no gradient is asked for: on a CPU,
    first touching new memory takes longer than the norm itself.
    """
    slices = torch.split(features, 1)
    if features.device.type == "cpu" and not torch.is_grad_enabled():
        for one in slices:
            # torch wants the statistics in the precision of the parameters, where there are any.
            statistics = (one if weight is None else weight).new_empty(2, one.shape[1])
            torch.native_batch_norm(
                one, weight, bias, None, None, True, 0.0, 1e-5, out=(one, statistics[0], statistics[1])
            )
        return features
    normalised = [batch_norm(one, None, None, weight, bias, training=True) for one in slices]
    return normalised[0] if len(normalised) == 1 else torch.cat(normalised)
