"""Siemens raw data (twix, ``.dat``), read by twixtools."""

import io
import logging
import struct
from collections.abc import Iterator
from contextlib import redirect_stdout
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gadgets.records import FLAG_BITS, HEADER_DTYPE, Readouts
from pipelines.importers.siemens_header import COUNTER_NAMES, mrd_header
from pipelines.sources import Scan
from recon_core.errors import InputError

_LOGGER = logging.getLogger("reconstream")

_COUNTERS = {"kspace_encode_step_1": "Lin", "kspace_encode_step_2": "Par", **COUNTER_NAMES}
_FLAGS = {
    "NOISEADJSCAN": "IS_NOISE_MEASUREMENT",
    "FIRSTSCANINSLICE": "FIRST_IN_SLICE",
    "LASTSCANINSLICE": "LAST_IN_SLICE",
    "LASTSCANINMEAS": "LAST_IN_MEASUREMENT",
    "PATREFANDIMASCAN": "IS_PARALLEL_CALIBRATION_AND_IMAGING",
    "PATREFSCAN": "IS_PARALLEL_CALIBRATION",
    "REFLECT": "IS_REVERSE",
    "PHASCOR": "IS_PHASECORR_DATA",
    "RTFEEDBACK": "IS_RTFEEDBACK_DATA",
    "HPFEEDBACK": "IS_HPFEEDBACK_DATA",
    "RAWDATACORRECTION": "IS_SURFACECOILCORRECTIONSCAN_DATA",
    "REFPHASESTABSCAN": "IS_PHASE_STABILIZATION_REFERENCE",
    "PHASESTABSCAN": "IS_PHASE_STABILIZATION",
    "RETRO_DUMMYSCAN": "IS_DUMMYSCAN_DATA",
}


def is_twix(start: bytes) -> bool:
    """Whether a file beginning so is twix: of version VD or VE (a directory of measurements) or VB."""
    if len(start) < 8:
        return False
    header_size, n_parts = struct.unpack("<II", start[:8])
    return bool(header_size < 2**20 and 0 < n_parts <= 64)


def read(path: Path, *, measurement: int = -1) -> Scan:
    """The scan of one measurement in a file, by default the last: earlier ones are adjustments.

    Noise, reference lines and phase-correction readouts keep their flags; counters, flags and header are as
    siemens_to_ismrmrd makes them. Geometry comes from the slice data of each readout, with directions turned
    so that they fit images made with the inverse Fourier transform (PTB-MR/mrpro, issue 828). EPI is imported
    with the trajectory ``epi``, which the Cartesian recipes refuse: they do not correct its ghosts.
    Raises InputError when twixtools cannot read the file, or for a trajectory that it does not hold.
    """
    measurements = _measurements(path)
    try:
        chosen = measurements[measurement]
    except IndexError as error:
        raise InputError(
            f"{path}: expected a measurement below {len(measurements)}, got {measurement}; choose another"
        ) from error
    blocks = _whole(chosen["mdb"], path)
    is_epi = all(any(block.is_flag_set(flag) for block in blocks) for flag in ("PHASCOR", "REFLECT"))
    if is_epi:
        _LOGGER.warning(
            "%s: EPI: imported with its phase-correction readouts; it needs a recipe that corrects them", path
        )
    header = mrd_header(chosen["hdr"], blocks, is_epi=is_epi, where=str(path))
    dwell_us = chosen["hdr"]["MeasYaps"]["sRXSPEC"]["alDwellTime"][0] / 1000
    is_3d = header.encoding[0].encodedSpace.matrixSize.z > 1
    return Scan(header.toXML().encode(), lambda: _readouts(blocks, dwell_us, is_3d))


def _whole(blocks: list[Any], path: Path) -> list[Any]:
    """The readouts that lie in the file; twixtools goes on counting beyond the end of one cut short."""
    n_bytes = path.stat().st_size
    whole = [b for b in blocks if b.mdh.SamplesInScan and b.mem_pos + b.dma_len <= n_bytes]
    if not whole:
        raise InputError(f"{path}: expected readouts, got none; choose another measurement")
    if len(whole) < len(blocks):
        _LOGGER.warning("%s: the file was cut short; imported the %d readouts it holds", path, len(whole))
    return whole


def _measurements(path: Path) -> list[dict[str, Any]]:
    import twixtools

    try:
        with redirect_stdout(io.StringIO()):  # it prints its warnings
            read: list[dict[str, Any]] = twixtools.read_twix(
                str(path), parse_pmu=False, parse_geometry=False, keep_syncdata=False, verbose=False
            )
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, OSError, EOFError) as error:
        raise InputError(f"{path}: expected a Siemens twix file, got: {error}; export it again") from error
    return [one for one in read if isinstance(one, dict) and "hdr" in one]


def _readouts(blocks: list[Any], dwell_us: float, is_3d: bool) -> Iterator[Readouts]:
    for _, alike in groupby(blocks, key=lambda block: (block.mdh.UsedChannels, block.mdh.SamplesInScan)):
        group = list(alike)
        headers = np.zeros(len(group), HEADER_DTYPE)
        for header, block in zip(headers, group, strict=True):
            _fill(header, block, dwell_us, is_3d)
        data = np.stack([block.data for block in group]).astype(np.complex64, copy=False)
        yield Readouts(headers=headers, data=data, trajectory=np.empty((*data.shape[::2], 0), np.float32))


def _fill(header: np.void, block: Any, dwell_us: float, is_3d: bool) -> None:
    mdh = block.mdh
    n_samples = mdh.SamplesInScan
    header["version"] = 1
    header["flags"] = _flags(block)
    header["measurement_uid"] = mdh.MeasUID & 0xFFFFFFFF
    header["scan_counter"] = mdh.ScanCounter
    header["acquisition_time_stamp"] = mdh.TimeStamp
    header["physiology_time_stamp"][0] = mdh.PMUTimeStamp
    header["number_of_samples"] = n_samples
    header["available_channels"] = header["active_channels"] = mdh.UsedChannels
    header["discard_pre"], header["discard_post"] = mdh.CutOff.Pre, mdh.CutOff.Post
    header["center_sample"] = mdh.CenterCol
    # Noise adjustment runs at its own bandwidth, in steps of 0.1 µs.
    header["sample_time_us"] = int(76800 / n_samples) / 10 if block.is_flag_set("NOISEADJSCAN") else dwell_us
    position = mdh.SliceData.SlicePos
    header["position"] = position.Sag, position.Cor, position.Tra
    phase, read, normal = _rotation(mdh.SliceData.Quaternion).T
    # Siemens's directions belong to images made with the forward transform; MRD's are made with the inverse.
    header["phase_dir"], header["read_dir"] = -phase, -read
    header["slice_dir"] = -normal if is_3d else normal
    for counter, name in _COUNTERS.items():
        header["idx"][counter] = getattr(mdh.Counter, name)


def _flags(block: Any) -> int:
    flags = {mrd for siemens, mrd in _FLAGS.items() if block.is_flag_set(siemens)}
    if "IS_PARALLEL_CALIBRATION_AND_IMAGING" in flags:
        flags.discard("IS_PARALLEL_CALIBRATION")
    return sum(FLAG_BITS[flag] for flag in flags)


def _rotation(quaternion: Any) -> npt.NDArray[np.float64]:
    """Columns: phase, read and slice direction, from Siemens's quaternion `(w, x, y, z)`."""
    w, x, y, z = (float(q) for q in quaternion)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )
