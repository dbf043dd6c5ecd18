"""The phase of coil maps, which a calibration leaves free at every pixel."""

import torch


def reference_phase(maps: torch.Tensor, virtual_coil: torch.Tensor) -> torch.Tensor:
    """Maps rotated pixel by pixel until the virtual coil they make, ``sum_c w_c s_c``, is real and not
    negative.

    The first principal coil serves well: it sees the whole object, where any single element has nulls with a
    phase vortex around them.

    maps: (*batch, coil, z, y, x); virtual_coil: (coil,) weights w. Returns the shape of maps.
    """
    seen = torch.einsum("c,...czyx->...zyx", virtual_coil, maps)
    return maps * torch.sgn(seen).conj().unsqueeze(-4).where(seen.unsqueeze(-4) != 0, 1.0)
