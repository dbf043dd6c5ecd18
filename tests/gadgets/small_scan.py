"""Small scans, made readout by readout, and the header that goes with them."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

import ismrmrd
import numpy as np
import numpy.typing as npt
import torch

from gadgets.gadget import Context
from gadgets.records import FLAG_BITS, HEADER_DTYPE, Readouts
from gadgets.study import Studies, StudyStore
from recon_core.coils.combine import rss
from recon_core.fourier import fft
from recon_core.phantom import head_phantom, positions_mm
from recon_core.simulate import loop_coil_maps

Array = npt.NDArray[Any]

_HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
{measurement}{system}
<experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>
{encodings}
</ismrmrdHeader>"""
_ENCODING = """<encoding>
<encodedSpace>{encoded}</encodedSpace><reconSpace>{recon}</reconSpace>
<encodingLimits>{limits}</encodingLimits><trajectory>{trajectory}</trajectory>{parallel}
</encoding>"""
_XYZ = "<{0}><x>{1}</x><y>{2}</y><z>{3}</z></{0}>"


def encoding(
    encoded: Sequence[int],
    *,
    recon: Sequence[int] | None = None,
    limits: dict[str, tuple[int, int, int]] | None = None,
    acceleration: tuple[int, int] | None = None,
    calibration_mode: str | None = None,
    trajectory: str = "cartesian",
) -> str:
    """The XML of one encoding, 1 mm a pixel; limits are (minimum, maximum, center)."""
    recon = recon or encoded
    found = {"kspace_encoding_step_1": (0, encoded[1] - 1, encoded[1] // 2)}
    found |= {"kspace_encoding_step_2": (0, encoded[2] - 1, encoded[2] // 2)} if encoded[2] > 1 else {}
    order = (
        "kspace_encoding_step_0 kspace_encoding_step_1 kspace_encoding_step_2 average slice contrast phase"
    )
    found |= limits or {}
    given = [name for name in [*order.split(), "repetition", "set", "segment"] if name in found]
    parallel = acceleration and (
        "<parallelImaging><accelerationFactor>"
        f"<kspace_encoding_step_1>{acceleration[0]}</kspace_encoding_step_1>"
        f"<kspace_encoding_step_2>{acceleration[1]}</kspace_encoding_step_2>"
        "</accelerationFactor>"
        + (f"<calibrationMode>{calibration_mode}</calibrationMode>" if calibration_mode else "")
        + "</parallelImaging>"
    )
    return _ENCODING.format(
        encoded=_XYZ.format("matrixSize", *encoded) + _XYZ.format("fieldOfView_mm", *map(float, encoded)),
        recon=_XYZ.format("matrixSize", *recon) + _XYZ.format("fieldOfView_mm", *map(float, recon)),
        limits="".join(
            "<{0}><minimum>{1}</minimum><maximum>{2}</maximum><center>{3}</center></{0}>".format(
                name, *found[name]
            )
            for name in given
        ),
        trajectory=trajectory,
        parallel=parallel or "",
    )


def context(
    *encodings: str, measurement: str = "", system: str = "", study: Studies | None = None
) -> Context:
    """The context of a new scan with these encodings."""
    text = _HEADER.format(measurement=measurement, system=system, encodings="".join(encodings))
    return Context(header=ismrmrd.xsd.CreateFromDocument(text), study=study or StudyStore())


def identified_context(
    encoding: str,
    measurement: str,
    study: Studies,
    *,
    uid: str = "1.2.840",
    frame: str = "1.3.12",
    coils: Sequence[str] = (),
) -> Context:
    """The context of a scan of the study `uid`."""
    labels = "".join(
        f"<coilLabel><coilNumber>{number}</coilNumber><coilName>{name}</coilName></coilLabel>"
        for number, name in enumerate(coils)
    )
    return context(
        encoding,
        measurement=f"<studyInformation><studyInstanceUID>{uid}</studyInstanceUID></studyInformation>"
        f"<measurementInformation><measurementID>{measurement}</measurementID>"
        f"<patientPosition>HFS</patientPosition><frameOfReferenceUID>{frame}</frameOfReferenceUID>"
        "</measurementInformation>",
        system=f"<acquisitionSystemInformation>{labels}</acquisitionSystemInformation>",
        study=study,
    )


def readouts(
    kspace: Array,
    lines: Iterable[Sequence[int]] | None = None,
    *,
    last: Sequence[str] = ("LAST_IN_SLICE",),
    **counters: int,
) -> Readouts:
    """Lines (kz, ky) of a k-space (coil, kz, ky, kx) in order, all if None; the last is flagged `last`."""
    _, n_z, n_y, n_x = kspace.shape
    places = np.array(list(lines) if lines is not None else np.argwhere(np.ones((n_z, n_y), bool)))
    headers = np.zeros(len(places), HEADER_DTYPE)
    headers["version"] = 1
    headers["scan_counter"] = 1 + np.arange(len(places))
    headers["idx"]["kspace_encode_step_2"], headers["idx"]["kspace_encode_step_1"] = places.T
    for name, value in counters.items():
        headers["idx"][name] = value
    headers["number_of_samples"], headers["center_sample"] = n_x, n_x // 2
    headers["active_channels"] = headers["available_channels"] = len(kspace)
    headers["sample_time_us"] = 5
    headers["read_dir"], headers["phase_dir"], headers["slice_dir"] = np.eye(3, dtype=np.float32)
    samples = kspace[:, places[:, 0], places[:, 1]].transpose(1, 0, 2).astype(np.complex64)
    block = Readouts(
        headers=headers,
        data=np.ascontiguousarray(samples),
        trajectory=np.zeros((len(places), n_x, 0), np.float32),
    )
    return flagged(block, slice(len(places) - 1, None), *last)


def flagged(block: Readouts, which: Any, *names: str) -> Readouts:
    """A copy with flags set on some of the readouts."""
    headers = block.headers.copy()
    headers["flags"][which] |= np.uint64(sum(FLAG_BITS[name] for name in names))
    return replace(block, headers=headers)


def with_header(block: Readouts, **values: Any) -> Readouts:
    """A copy with header fields set."""
    headers = block.headers.copy()
    for name, value in values.items():
        headers[name] = value
    return replace(block, headers=headers)


def joined(*blocks: Readouts) -> Readouts:
    """Blocks of one shape as one, with running scan counters."""
    headers = np.concatenate([block.headers for block in blocks])
    headers["scan_counter"] = 1 + np.arange(len(headers))
    return Readouts(
        headers=headers,
        data=np.concatenate([block.data for block in blocks]),
        trajectory=np.concatenate([block.trajectory for block in blocks]),
    )


def noise_readout(n_coils: int, n_samples: int, seed: int = 0, level: float = 1.0) -> Readouts:
    """White noise of complex variance level², flagged as a noise scan."""
    samples = level * random_complex((n_coils, 1, 1, n_samples), seed)
    return flagged(readouts(samples, last=()), slice(None), "IS_NOISE_MEASUREMENT")


def random_complex(shape: Sequence[int], seed: int = 0) -> Array:
    """Circular normal samples of unit variance."""
    generator = np.random.default_rng(seed)
    samples: Array = (generator.standard_normal(shape) + 1j * generator.standard_normal(shape)) / np.sqrt(2)
    return samples.astype(np.complex64)


def head_kspace(n_coils: int = 8, matrix: tuple[int, int] = (64, 64)) -> tuple[torch.Tensor, torch.Tensor]:
    """k-space (coil, 1, ky, kx) of the head on its own grid, noiseless, and the truth (1, y, x)."""
    return head_volume(n_coils, (1, *matrix))


def head_volume(n_coils: int, matrix: tuple[int, int, int]) -> tuple[torch.Tensor, torch.Tensor]:
    """k-space (coil, kz, ky, kx) of a slab of the head, partitions of 8 mm, and the truth (z, y, x)."""
    n_z, *in_plane = matrix
    z_mm = positions_mm(n_z, 8.0 * n_z).tolist()
    truth = torch.stack([head_phantom((in_plane[0], in_plane[1]), z_mm=z) for z in z_mm])
    maps = [loop_coil_maps(n_coils, (in_plane[0], in_plane[1]), z_mm=z) for z in z_mm]
    coil_images = torch.stack(maps, dim=1) * truth
    return fft(coil_images), rss(coil_images)
