"""Noise covariances from one scan to the next."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gadgets.gadget import Context
from gadgets.study import Item, Kept, ScanIdentity, Studies, coil_names
from recon_core.coils.whitening import noise_bandwidth_scale, whitening_matrix
from recon_core.errors import CalibrationError

BORROWED_NOTE = "noise-whitened with the noise scan of an earlier scan of the study"


@dataclass(frozen=True, slots=True)
class NoiseCovariance:
    """What is measured in a noise scan."""

    matrix: torch.Tensor
    """`(coil, coil)`."""
    dwell_time_us: float

    def whitening(self, imaging_dwell_time_us: float, relative_bandwidth: float) -> torch.Tensor:
        if not (self.dwell_time_us > 0 and imaging_dwell_time_us > 0):
            return whitening_matrix(self.matrix)
        scale = noise_bandwidth_scale(self.dwell_time_us, imaging_dwell_time_us, relative_bandwidth)
        return whitening_matrix(self.matrix, scale)


def keep_noise(noise: NoiseCovariance, context: Context) -> None:
    """Leave the covariance to later scans."""
    scan = context.scan
    if scan.measurement or scan.study:
        about = {"dwell_time_us": noise.dwell_time_us, "coils": coil_names(context.header)}
        tensors = {"covariance": noise.matrix}
        context.study.keep(Item(kind="noise", scan=scan, name=scan.measurement, tensors=tensors, about=about))


def noise_of_study(context: Context) -> tuple[NoiseCovariance, tuple[str, ...]]:
    """The covariance of the earlier scan that the header names as its noise dependency, without notes.

    Else, where the header names its coils, the latest of the study that has them all, with a note. Channels
    are put in this scan's order. Raises CalibrationError when there is none to be had.
    """
    scan, coils = context.scan, coil_names(context.header)
    named = _dependencies(context.header)
    for name in named:
        for kept in context.study.find("noise", scan, name):
            if noise := _noise(kept, coils):
                return noise, ()
    for kept in context.study.find("noise", scan):
        if coils and set(coils) <= set(kept.about["coils"]) and (noise := _noise(kept, coils)):
            return noise, (BORROWED_NOTE,)
    raise CalibrationError("the noise scan that the header names is not known" if named else "no noise scan")


def noise_summary(measurement: str, studies: Studies) -> dict[str, str] | None:
    """Gadgetron's figures of a noise scan: dwell time in us, the channels' noise standard deviations."""
    for kept in studies.find("noise", ScanIdentity(), measurement):
        if noise := _noise(kept, ()):
            std = noise.matrix.diagonal().real.sqrt()
            figures = {"min_sigma": std.min(), "max_sigma": std.max(), "mean_sigma": std.mean()}
            return {
                "noise_dwell_time_us": f"{noise.dwell_time_us:g}",
                **{name: f"{float(sigma):.6g}" for name, sigma in figures.items()},
                "channels": str(len(std)),
            }
    return None


def _dependencies(header: Any) -> list[str]:
    """The measurements that the header calls its noise dependency.

    Older converters give their own number only, and leave out the device, patient and study before it.
    """
    information = header.measurementInformation
    names = []
    for dependency in information.measurementDependency if information else ():
        if (dependency.dependencyType or "").lower() == "noise" and dependency.measurementID:
            prefix, _, _ = (information.measurementID or "").rpartition("_")
            names += [dependency.measurementID, f"{prefix}_{dependency.measurementID}"]
    return names


def _noise(kept: Kept, coils: Sequence[str]) -> NoiseCovariance | None:
    """With the channels of `coils`. Raises CalibrationError for a noise scan without one of them."""
    tensors = kept.load()
    if tensors is None:
        return None
    matrix, measured = tensors["covariance"], list(kept.about["coils"])
    if _are_names_of(measured, matrix) and len(set(coils)) == len(coils) > 0:
        if missing := [coil for coil in coils if coil not in measured]:
            raise CalibrationError(f"noise scan without the coil {missing[0]}")
        order = [measured.index(coil) for coil in coils]
        matrix = matrix[order][:, order]
    return NoiseCovariance(matrix, float(kept.about["dwell_time_us"]))


def _are_names_of(coils: Sequence[str], matrix: torch.Tensor) -> bool:
    """Whether there is one for every channel: some converters write one name for all."""
    return len(set(coils)) == len(matrix) == len(coils)
