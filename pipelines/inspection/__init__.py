"""What a file of raw data holds, found in one pass without keeping its samples."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import numpy.typing as npt

from gadgets.records import FLAG_BITS, HEADER_DTYPE, Readouts
from pipelines.inspection.picture import sampling_picture
from pipelines.inspection.records import Inspection, Noise
from pipelines.inspection.sampling import Headers, encoding_spaces
from pipelines.mrd_header import header_from_xml
from pipelines.sources import is_hdf5, open_scan
from recon_core.errors import StreamError

__all__ = ["Inspection", "inspect_scan", "sampling_picture"]

_CLOSE = b"\x04\x00"


def inspect_scan(path: Path | str, dataset: str | None = None) -> Inspection:
    """Look through the scan in a file: an ISMRMRD HDF5 file, a stream or a journal.

    Raises InputError for a file that holds no scan. A stream that was cut is inspected up to there.
    """
    path = Path(path)
    scan, tally = open_scan(path, dataset), _Tally()
    header = header_from_xml(scan.header_xml) if scan.header_xml else None
    interrupted = ""
    try:
        for item in scan.items():
            tally.add(item)
    except StreamError as error:
        interrupted = str(error)
    if not is_hdf5(path) and not interrupted and not _ends_with_close(path):
        interrupted = "the stream ends without CLOSE"
    headers = np.concatenate([np.empty(0, HEADER_DTYPE), *tally.headers])
    is_noise = headers["flags"] & FLAG_BITS["IS_NOISE_MEASUREMENT"] != 0
    return Inspection(
        file=str(path),
        format="ISMRMRD HDF5" if is_hdf5(path) else "MRD stream",
        n_readouts=len(headers),
        n_images=tally.n_images,
        n_waveforms=dict(tally.waveforms),
        shapes=_shapes(headers),
        dwell_times_us=[round(float(t), 4) for t in np.unique(headers[~is_noise]["sample_time_us"])],
        flags={name: n for name, bit in FLAG_BITS.items() if (n := int((headers["flags"] & bit != 0).sum()))},
        encodings=encoding_spaces(header, headers[~is_noise]) if header else [],
        noise=_noise(tally, headers[is_noise]),
        interrupted=interrupted,
        **_measurement(header),
    )


@dataclass
class _Tally:
    """What is kept of the readouts: headers, and sums over noise."""

    headers: list[Headers] = field(default_factory=list)
    waveforms: Counter[int] = field(default_factory=Counter)
    n_images: int = 0
    noise_power: npt.NDArray[np.float64] | None = None
    n_noise_samples: int = 0

    def add(self, item: Any) -> None:
        if isinstance(item, ismrmrd.Waveform):
            self.waveforms[int(item.waveform_id)] += 1
        elif isinstance(item, ismrmrd.Image):
            self.n_images += 1
        else:
            self.headers.append(item.headers)
            self._add_noise(item)

    def _add_noise(self, readouts: Readouts) -> None:
        noise = readouts.data[readouts.flagged("IS_NOISE_MEASUREMENT")]
        if noise.size and (self.noise_power is None or len(self.noise_power) == noise.shape[1]):
            power = np.square(np.abs(noise, dtype=np.float64)).sum(axis=(0, 2))
            self.noise_power = power if self.noise_power is None else self.noise_power + power
            self.n_noise_samples += noise.shape[0] * noise.shape[2]


def _ends_with_close(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-len(_CLOSE), 2)
        return file.read() == _CLOSE


def _measurement(header: Any) -> dict[str, Any]:
    measurement = getattr(header, "measurementInformation", None)
    system = getattr(header, "acquisitionSystemInformation", None)
    field_strength = getattr(system, "systemFieldStrength_T", None)
    words = [getattr(system, "systemVendor", None), getattr(system, "systemModel", None)]
    return {
        "measurement": getattr(measurement, "measurementID", None) or "",
        "protocol": getattr(measurement, "protocolName", None) or "",
        "system": " ".join([*filter(None, words), *([f"{field_strength:g} T"] if field_strength else [])]),
        "dependencies": {
            str(d.dependencyType): str(d.measurementID)
            for d in getattr(measurement, "measurementDependency", None) or []
        },
    }


def _shapes(headers: Headers) -> dict[str, int]:
    shapes = Counter(
        zip(
            headers["active_channels"].tolist(),
            headers["number_of_samples"].tolist(),
            headers["trajectory_dimensions"].tolist(),
            strict=True,
        )
    )
    return {
        f"{coils} x {samples}" + (f", trajectory in {dims} dimensions" if dims else ""): n
        for (coils, samples, dims), n in shapes.items()
    }


def _noise(tally: _Tally, headers: Headers) -> Noise | None:
    if tally.noise_power is None:
        return None
    std = np.sqrt(tally.noise_power / tally.n_noise_samples)
    return Noise(
        n_readouts=len(headers),
        dwell_time_us=round(float(headers["sample_time_us"][0]), 4),
        std=[float(f"{value:.4g}") for value in std],
    )
