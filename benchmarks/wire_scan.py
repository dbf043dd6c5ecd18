"""Scans as the bytes of the wire, made before the clock starts, and a client that only sends and waits."""

import socket
import struct
import threading
from dataclasses import dataclass
from time import perf_counter

import numpy as np

from gadgets.records import FLAG_BITS, HEADER_DTYPE, Readouts
from pipelines.chunks import chunks_of
from pipelines.client import serialized
from pipelines.messages import Close, MessageId, Text
from pipelines.stream import MessageReader

_HEADER = """<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<acquisitionSystemInformation><systemFieldStrength_T>3</systemFieldStrength_T>
<relativeReceiverNoiseBandwidth>0.79</relativeReceiverNoiseBandwidth>
<receiverChannels>{coils}</receiverChannels></acquisitionSystemInformation>
<experimentalConditions><H1resonanceFrequency_Hz>127732434</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><trajectory>cartesian</trajectory>
<encodedSpace><matrixSize><x>{samples}</x><y>{lines}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>512</x><y>256</y><z>5</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>{recon_x}</x><y>{lines}</y><z>1</z></matrixSize>
<fieldOfView_mm><x>256</x><y>256</y><z>5</z></fieldOfView_mm></reconSpace>
<encodingLimits><kspace_encoding_step_1><minimum>0</minimum><maximum>{last_line}</maximum>
<center>{center}</center></kspace_encoding_step_1>
<slice><minimum>0</minimum><maximum>{last_slice}</maximum><center>0</center></slice></encodingLimits>
<parallelImaging><accelerationFactor><kspace_encoding_step_1>{acceleration}</kspace_encoding_step_1>
<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>
<calibrationMode>embedded</calibrationMode></parallelImaging>
</encoding></ismrmrdHeader>"""


@dataclass(frozen=True)
class WireScan:
    """The data messages of a multi-slice scan, and what precedes them."""

    header_xml: bytes
    data: bytes
    n_readouts: int

    def message_bytes(self, recipe: str) -> bytes:
        """Configuration and header; `recipe` is a name, or a text with line breaks."""
        text = recipe.encode()
        if "\n" in recipe:
            config = struct.pack("<HI", MessageId.CONFIG_TEXT, len(text)) + text
        else:
            config = struct.pack("<H1024s", MessageId.CONFIG_FILE, text)
        return config + struct.pack("<HI", MessageId.HEADER, len(self.header_xml)) + self.header_xml


def wire_scan(
    kspace: np.ndarray, *, acceleration: int = 1, n_calibration: int = 24, noise: bool = True
) -> WireScan:
    """`kspace` `(slice, coil, ky, kx)`, kx 2x oversampled, as a noise scan and the lines of every slice."""
    n_slices, n_coils, n_lines, n_samples = kspace.shape
    lines = np.arange(n_lines)
    acs = np.abs(lines - n_lines // 2 + 0.5) < n_calibration / 2
    lines = lines[(lines % acceleration == 0) | (acs if acceleration > 1 else False)]
    blocks = [_noise(n_coils, n_samples)] if noise else []
    blocks += [_slice(kspace[i], i, lines, acs & (acceleration > 1), acceleration) for i in range(n_slices)]
    header = _HEADER.format(
        coils=n_coils, samples=n_samples, lines=n_lines, recon_x=n_samples // 2, last_line=n_lines - 1,
        center=n_lines // 2, last_slice=n_slices - 1, acceleration=acceleration,
    )  # fmt: skip
    data = b"".join(serialized(block) for block in blocks)
    return WireScan(header.encode(), data, sum(len(block) for block in blocks))


def exchange(port: int, scan: WireScan, recipe: str) -> tuple[float, list[tuple[float, object]]]:
    """Send a scan; seconds from the first byte to CLOSE, and `(seconds, message)` of all that came back."""
    preamble = scan.message_bytes(recipe)
    received = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        begin = perf_counter()
        sender = threading.Thread(target=_send, args=(connection, preamble, scan.data))
        sender.start()
        for message in MessageReader(chunks_of(connection.recv_into)):
            received.append((perf_counter() - begin, message))
            if isinstance(message, Text):
                raise RuntimeError(message.text)
            if isinstance(message, Close):
                break
        seconds = perf_counter() - begin
        sender.join()
    return seconds, received


def _send(connection: socket.socket, preamble: bytes, data: bytes) -> None:
    connection.sendall(preamble)
    connection.sendall(data)
    connection.sendall(struct.pack("<H", MessageId.CLOSE))


def _noise(n_coils: int, n_samples: int, n_readouts: int = 8) -> Readouts:
    rng = np.random.default_rng(1)
    samples = rng.standard_normal((n_readouts, n_coils, n_samples, 2), np.float32).view(np.complex64)[..., 0]
    headers = _headers(n_readouts, n_coils, n_samples)
    headers["flags"] = FLAG_BITS["IS_NOISE_MEASUREMENT"]
    return Readouts(
        headers=headers, data=samples, trajectory=np.zeros((n_readouts, n_samples, 0), np.float32)
    )


def _slice(
    kspace: np.ndarray, number: int, lines: np.ndarray, acs: np.ndarray, acceleration: int
) -> Readouts:
    n_coils, _, n_samples = kspace.shape
    headers = _headers(len(lines), n_coils, n_samples)
    headers["idx"]["kspace_encode_step_1"] = lines
    headers["idx"]["slice"] = number
    headers["position"][:, 2] = 5.0 * number
    headers["center_sample"] = n_samples // 2
    headers["scan_counter"] = number * len(lines) + np.arange(len(lines))
    calibration, imaging = acs[lines], lines % acceleration == 0
    headers["flags"][calibration & imaging] |= FLAG_BITS["IS_PARALLEL_CALIBRATION_AND_IMAGING"]
    headers["flags"][calibration & ~imaging] |= FLAG_BITS["IS_PARALLEL_CALIBRATION"]
    headers["flags"][0] |= FLAG_BITS["FIRST_IN_SLICE"]
    headers["flags"][-1] |= FLAG_BITS["LAST_IN_SLICE"]
    data = np.ascontiguousarray(kspace[:, lines].transpose(1, 0, 2))
    return Readouts(headers=headers, data=data, trajectory=np.zeros((len(lines), n_samples, 0), np.float32))


def _headers(n_readouts: int, n_coils: int, n_samples: int) -> np.ndarray:
    headers = np.zeros(n_readouts, HEADER_DTYPE)
    headers["version"] = 1
    headers["number_of_samples"] = n_samples
    headers["active_channels"] = headers["available_channels"] = n_coils
    headers["sample_time_us"] = 5.0
    for axis, direction in enumerate(("read_dir", "phase_dir", "slice_dir")):
        headers[direction][:, axis] = 1.0
    return headers
