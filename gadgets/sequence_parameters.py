"""What the MRD header says of the sequence."""

from collections.abc import Sequence
from typing import Any

import torch

from gadgets.feature_records import Recovery
from recon_core.dynamic.bloch import InversionRecovery
from recon_core.errors import InputError

_NAMES = {"flip_angles_deg": "flipAngle_deg", "inversion_times_ms": "TI", "tr_ms": "TR"}


def stated(where: str, parameter: str, given: Sequence[float] | None, header: Any) -> torch.Tensor:
    """`(value,)` float64 of a parameter: as given, else as the header's sequenceParameters say.

    Raises InputError where neither says anything.
    """
    name = _NAMES[parameter]
    values = list(given or getattr(header.sequenceParameters, name, None) or ())
    if not values:
        raise InputError(
            f"{where}: expected {parameter}, or {name} in the header's sequenceParameters, got neither; "
            f"set {where}.{parameter}"
        )
    return torch.tensor(values, dtype=torch.float64)


def repetition_time_ms(where: str, header: Any) -> float:
    """TR. Raises InputError where the header does not say."""
    return float(stated(where, "tr_ms", None, header)[0])


def inversion_recovery(where: str, header: Any) -> Recovery:
    """FLASH between inversions: TR, flip angle and every TI of sequenceParameters, and how many pulses follow
    an inversion after which delay, `pulses_per_inversion` and `inversion_delay_ms` of userParameters.

    Raises InputError where the header lacks one of them.
    """
    users = header.userParameters
    found = {
        parameter.name: float(parameter.value)
        for parameter in ((*users.userParameterLong, *users.userParameterDouble) if users else ())
    }
    missing = {"pulses_per_inversion", "inversion_delay_ms"} - found.keys()
    if missing:
        raise InputError(
            f"{where}: expected userParameters pulses_per_inversion and inversion_delay_ms in the header, "
            f"got no {' nor '.join(sorted(missing))}; add them, or choose radial_subspace"
        )
    sequence = InversionRecovery(
        tr_ms=repetition_time_ms(where, header),
        flip_angle_deg=float(stated(where, "flip_angles_deg", None, header)[0]),
        n_pulses=int(found["pulses_per_inversion"]),
        delay_ms=found["inversion_delay_ms"],
    )
    return Recovery(times_ms=stated(where, "inversion_times_ms", None, header), sequence=sequence)
