"""What a simulated multitasking scan was made of, in a file beside it: any of its frames on demand."""

import os
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import msgspec
import numpy as np
import torch

from recon_core.dynamic.anatomy import Anatomy, HeartContours
from recon_core.dynamic.bloch import InversionRecovery
from recon_core.dynamic.deformation import Strength
from recon_core.dynamic.motion import Motion
from recon_core.dynamic.moving_chest import MovingChest
from recon_core.dynamic.multitasking import MultitaskingScan
from recon_core.errors import InputError

N_PHASES = 20
"""Frames and maps are stored at the middle of so many equal parts of the cardiac cycle."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SimulatedTruth:
    """Of one scan. `chest.frames` and `chest.t1_maps_ms` give any state; some are at hand."""

    chest: MovingChest
    motion: Motion
    """At the time of each readout."""
    coil_maps: torch.Tensor
    """`(coil, 1, y, x)`, root sum of squares one."""
    noise_covariance: torch.Tensor
    """`(coil, coil)`."""
    inversion_times_ms: torch.Tensor
    """`(inversion index,)` of the spokes."""
    cardiac_phases: torch.Tensor
    """`(N_PHASES,)`: those of the frames and maps below, all at end of expiration."""
    bright_blood: torch.Tensor
    """`(N_PHASES, y, x)`: the last inversion time."""
    dark_blood: torch.Tensor
    """`(N_PHASES, y, x)`: the inversion time `dark_blood_index`."""
    dark_blood_index: int
    t1_maps_ms: torch.Tensor
    """`(N_PHASES, y, x)`."""
    tissue_maps: torch.Tensor
    """`(N_PHASES, y, x)` uint8: `recon_core.dynamic.tissues.Tissue`."""


def write_truth(simulation: MultitaskingScan, path: Path) -> None:
    """The truth as a compressed numpy archive; the file appears when it is whole."""
    chest, motion = simulation.chest, simulation.motion
    anatomy, heart = chest.anatomy, chest.anatomy.heart
    phases = (torch.arange(N_PHASES) + 0.5) / N_PHASES
    at_rest = torch.zeros(N_PHASES)
    dark = chest.blood_null() // 2
    indices = len(simulation.inversion_times_ms) - 1, dark
    bright_blood, dark_blood = (
        chest.frames(phases, at_rest, torch.full((N_PHASES,), 2 * index + 1)) for index in indices
    )
    arrays = {
        "fov_mm": torch.tensor(anatomy.fov_mm),
        "tissue": anatomy.tissue,
        "density": anatomy.density,
        "t1_ms": anatomy.t1_ms,
        "phase": chest.phase,
        "heart_centre_mm": torch.tensor(heart.centre_mm),
        "heart_radii_mm": heart.radii_mm,
        "times_s": motion.times_s,
        "cardiac_phase": motion.cardiac_phase,
        "respiration": motion.respiration,
        "r_waves_s": motion.r_waves_s,
        "coil_maps": simulation.coil_maps,
        "noise_covariance": simulation.noise_mixing @ simulation.noise_mixing.mH,
        "inversion_times_ms": simulation.inversion_times_ms,
        "cardiac_phases": phases,
        "bright_blood": bright_blood,
        "dark_blood": dark_blood,
        "dark_blood_index": torch.tensor(dark),
        "t1_maps_ms": chest.t1_maps_ms(phases, at_rest),
        "tissue_maps": chest.tissue_maps(phases, at_rest),
    }
    records = {"sequence": chest.sequence, "strength": chest.strength}
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(
                file,
                allow_pickle=False,
                **{name: array.resolve_conj().numpy() for name, array in arrays.items()},
                **{name: np.array(msgspec.json.encode(record).decode()) for name, record in records.items()},
            )
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def read_truth(path: Path) -> SimulatedTruth:
    """What `write_truth` wrote. Raises InputError for any other file."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            stored = {name: archive[name] for name in archive.files}
        records = {name: str(stored.pop(name)) for name in ("sequence", "strength")}
        arrays = {name: torch.from_numpy(array) for name, array in stored.items()}
        return _truth(
            arrays,
            msgspec.json.decode(records["sequence"], type=InversionRecovery),
            msgspec.json.decode(records["strength"], type=Strength),
        )
    except (OSError, ValueError, KeyError, BadZipFile, msgspec.DecodeError) as error:
        raise InputError(
            f"{path}: expected the truth of a simulated scan, got: {error}; "
            "`reconstream simulate multitasking` writes one beside each scan"
        ) from error


def _truth(
    arrays: dict[str, torch.Tensor], sequence: InversionRecovery, strength: Strength
) -> SimulatedTruth:
    y_mm, x_mm = arrays["heart_centre_mm"].tolist()
    anatomy = Anatomy(
        fov_mm=float(arrays["fov_mm"]),
        tissue=arrays["tissue"],
        density=arrays["density"],
        t1_ms=arrays["t1_ms"],
        heart=HeartContours(centre_mm=(y_mm, x_mm), radii_mm=arrays["heart_radii_mm"]),
    )
    return SimulatedTruth(
        chest=MovingChest(anatomy, arrays["phase"], sequence, strength),
        motion=Motion(
            times_s=arrays["times_s"],
            cardiac_phase=arrays["cardiac_phase"],
            respiration=arrays["respiration"],
            r_waves_s=arrays["r_waves_s"],
        ),
        coil_maps=arrays["coil_maps"],
        noise_covariance=arrays["noise_covariance"],
        inversion_times_ms=arrays["inversion_times_ms"],
        cardiac_phases=arrays["cardiac_phases"],
        bright_blood=arrays["bright_blood"],
        dark_blood=arrays["dark_blood"],
        dark_blood_index=int(arrays["dark_blood_index"]),
        t1_maps_ms=arrays["t1_maps_ms"],
        tissue_maps=arrays["tissue_maps"],
    )
