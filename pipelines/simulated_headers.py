"""What simulated scans of every kind say in MRD: readout headers, noise scan, XML header."""

import numpy as np
import numpy.typing as npt
import torch

from gadgets.records import FLAG_BITS, HEADER_DTYPE, Readouts

DWELL_TIME_US = 5.0

Which = npt.NDArray[np.bool_]


def noise_readout(noise: torch.Tensor) -> Readouts:
    """The noise scan `(coil, sample)` as one readout."""
    n_coils, n_samples = noise.shape
    headers = empty_headers(1, n_coils, n_samples)
    headers["flags"] = FLAG_BITS["IS_NOISE_MEASUREMENT"]
    return Readouts(headers=headers, data=noise.numpy()[None], trajectory=no_trajectory(headers))


def empty_headers(n_readouts: int, n_coils: int, n_samples: int) -> npt.NDArray[np.void]:
    """`(readout,)` headers of a transversal slice in the middle: x to the left, y to posterior."""
    headers = np.zeros(n_readouts, HEADER_DTYPE)
    headers["version"] = 1
    headers["scan_counter"] = 1
    headers["number_of_samples"] = n_samples
    headers["center_sample"] = n_samples // 2
    headers["active_channels"] = headers["available_channels"] = n_coils
    headers["sample_time_us"] = DWELL_TIME_US
    headers["read_dir"], headers["phase_dir"], headers["slice_dir"] = np.eye(3)
    return headers


def no_trajectory(headers: npt.NDArray[np.void]) -> npt.NDArray[np.float32]:
    """That of Cartesian readouts."""
    return np.empty((len(headers), int(headers["number_of_samples"][0]), 0), np.float32)


def flag(headers: npt.NDArray[np.void], which: Which | int, *names: str) -> None:
    """Set flags, by their MRD names, of some readouts."""
    headers["flags"][which] |= np.uint64(sum(FLAG_BITS[name] for name in names))


def header_xml(
    name: str, body_part: str, n_coils: int, encoding: str, rest: str = "", *, field_strength_t: float = 3.0
) -> bytes:
    """The MRD header. `encoding` and `rest`, what follows it, are XML."""
    return f"""<?xml version="1.0" encoding="UTF-8"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
  <studyInformation>
    <bodyPartExamined>{body_part}</bodyPartExamined>
  </studyInformation>
  <measurementInformation>
    <measurementID>{name.replace(" ", "_")}</measurementID>
    <patientPosition>HFS</patientPosition>
    <protocolName>{name}</protocolName>
  </measurementInformation>
  <acquisitionSystemInformation>
    <systemVendor>simulation</systemVendor>
    <systemFieldStrength_T>{field_strength_t:g}</systemFieldStrength_T>
    <relativeReceiverNoiseBandwidth>1</relativeReceiverNoiseBandwidth>
    <receiverChannels>{n_coils}</receiverChannels>
  </acquisitionSystemInformation>
  <experimentalConditions>
    <H1resonanceFrequency_Hz>{round(42.58e6 * field_strength_t)}</H1resonanceFrequency_Hz>
  </experimentalConditions>
  <encoding>{encoding}</encoding>{rest}
</ismrmrdHeader>
""".encode()


def space_xml(matrix: tuple[int, int], fov_mm: tuple[float, float], thickness_mm: float) -> str:
    """An encoding space of one slice; sizes are (x, y)."""
    return (
        f"<matrixSize><x>{matrix[0]}</x><y>{matrix[1]}</y><z>1</z></matrixSize>"
        f"<fieldOfView_mm><x>{fov_mm[0]}</x><y>{fov_mm[1]}</y><z>{thickness_mm}</z></fieldOfView_mm>"
    )


def limit_xml(counter: str, n_values: int, center: int = 0) -> str:
    """The range of a counter, under the name that the encoding limits have for it."""
    values = f"<minimum>0</minimum><maximum>{n_values - 1}</maximum><center>{center}</center>"
    return f"<{counter}>{values}</{counter}>"
