"""Tissues of the chest: their T1 at two field strengths, and their brightness without weighting."""

from enum import IntEnum

from recon_core.errors import InputError


class Tissue(IntEnum):
    """The label of each tissue in a tissue map."""

    AIR = 0
    BLOOD = 1
    MYOCARDIUM = 2
    LUNG = 3
    LIVER = 4
    FAT = 5
    MUSCLE = 6
    MARROW = 7


DENSITY = dict(zip(Tissue, (0.0, 0.95, 0.80, 0.10, 0.70, 0.75, 0.70, 0.50), strict=True))
"""Rough, T2* decay until an early echo included, which leaves little of the lung."""

T1_MS = {
    1.5: dict(zip(Tissue, (1000, 1441, 1030, 1200, 576, 343, 1008, 549), strict=True)),
    3.0: dict(zip(Tissue, (1000, 1932, 1471, 1300, 812, 382, 1412, 586), strict=True)),
}
"""By field strength in tesla. Blood, myocardium, liver, muscle: Stanisz et al. 2005, doi:10.1002/mrm.20605;
fat and marrow: de Bazelaire et al. 2004, doi:10.1148/radiol.2303021331; lung about; air does not matter."""


def t1_ms(tissue: Tissue, field_strength_t: float) -> float:
    """Published T1. Raises InputError for a field strength other than 1.5 and 3 T."""
    if field_strength_t not in T1_MS:
        raise InputError(f"tissues: expected a field strength of 1.5 or 3 T, got {field_strength_t}")
    return T1_MS[field_strength_t][tissue]
