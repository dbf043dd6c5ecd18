"""What Gadgetron's chain carries, as our records: nothing lost, nothing in a wrong place."""

import io

import ismrmrd
import numpy as np
import pytest
from gadgetron.external.constants import GadgetMessageIdentifier
from gadgetron.external.readers import read
from gadgetron.types.acquisition_bucket import read_acquisition_bucket

from gadgets.encoding import Encoding
from gadgets.records import HEADER_DTYPE, Readouts
from pipelines.gadgetron_messages import (
    SAMPLING_DTYPE,
    Bucket,
    Buffer,
    ReconBit,
    ReconData,
    read_bucket,
)
from pipelines.gadgetron_types import header_as_received, kspaces_of
from pipelines.mrd_header import header_from_xml
from recon_core.errors import StreamError
from tests.e2e.gadgetron_parent import bucket_bytes

EMBEDDED = (
    "<parallelImaging><accelerationFactor><kspace_encoding_step_1>2</kspace_encoding_step_1>"
    "<kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>"
    "<calibrationMode>embedded</calibrationMode></parallelImaging>"
)


def header_xml(encoded_x: int = 16, n_y: int = 12, parallel_imaging: str = "") -> bytes:
    def space(x: int) -> str:
        return (
            f"<matrixSize><x>{x}</x><y>{n_y}</y><z>1</z></matrixSize>"
            f"<fieldOfView_mm><x>{x}</x><y>{n_y}</y><z>5</z></fieldOfView_mm>"
        )

    return (
        '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><encoding>'
        f"<encodedSpace>{space(encoded_x)}</encodedSpace><reconSpace>{space(8)}</reconSpace>"
        f"<encodingLimits/><trajectory>cartesian</trajectory>{parallel_imaging}</encoding></ismrmrdHeader>"
    ).encode()


def encoding_of(header: bytes) -> Encoding:
    return Encoding.from_header(header_from_xml(header))


def readouts_of(n_samples: int, center_sample: int) -> Readouts:
    headers = np.zeros(1, HEADER_DTYPE)
    headers["number_of_samples"], headers["center_sample"] = n_samples, center_sample
    return Readouts(
        headers=headers,
        data=np.zeros((1, 1, n_samples), np.complex64),
        trajectory=np.zeros((1, n_samples, 0), np.float32),
    )


@pytest.mark.parametrize(("n_samples", "center_sample"), [(8, 4), (6, 2), (6, 4), (5, 1)])
def test_oversampling_is_gone_when_no_sample_lies_beyond_the_smaller_matrix(
    n_samples: int, center_sample: int
) -> None:
    encoding = encoding_of(header_as_received(header_xml(), readouts_of(n_samples, center_sample)))
    assert encoding.encoded_matrix == (8, 12, 1)
    assert encoding.encoded_fov_mm == (8, 12, 5)


@pytest.mark.parametrize(("n_samples", "center_sample"), [(16, 8), (12, 4), (12, 8), (10, 2)])
def test_oversampling_is_there_when_samples_lie_beyond_the_smaller_matrix(
    n_samples: int, center_sample: int
) -> None:
    """Asymmetric echoes of either side included: one side always reaches the edge."""
    encoding = encoding_of(header_as_received(header_xml(), readouts_of(n_samples, center_sample)))
    assert encoding.encoded_matrix == (16, 12, 1)


def test_a_header_without_oversampling_stays() -> None:
    encoding = encoding_of(header_as_received(header_xml(encoded_x=8), readouts_of(4, 2)))
    assert encoding.encoded_matrix == (8, 12, 1)


def buffer_of(lines: list[int], n_y: int, n_x: int = 8) -> Buffer:
    """Two coils; each line holds its number plus one, its header the number as scan counter."""
    data = np.zeros((1, 1, 1, 2, 1, n_y, n_x), np.complex64)
    headers = np.zeros((1, 1, 1, 1, n_y), HEADER_DTYPE)
    for line in lines:
        data[..., line, :] = line + 1
        headers["number_of_samples"][..., line], headers["scan_counter"][..., line] = n_x, line
    return Buffer(data, headers, np.zeros(1, SAMPLING_DTYPE)[0], False)


def test_only_lines_with_a_readout_count_as_sampled() -> None:
    data = ReconData((ReconBit(buffer_of([0, 2, 4, 6, 7, 8, 10], 12), None),))
    (kspace,) = kspaces_of(data, header_from_xml(header_xml()))
    assert kspace.sampled[0].any(-1).nonzero().flatten().tolist() == [0, 2, 4, 6, 7, 8, 10]
    assert kspace.encoding.encoded_matrix == (8, 12, 1)
    assert kspace.encoding.encoded_fov_mm == (8, 12, 5)
    assert kspace.header["scan_counter"] == 6
    assert kspace.calibration is None


def test_a_buffer_that_ends_before_the_grid_is_filled_up_behind() -> None:
    data = ReconData((ReconBit(buffer_of(list(range(9)), 9), None),))
    (kspace,) = kspaces_of(data, header_from_xml(header_xml()))
    assert kspace.data.shape == (2, 1, 12, 8)
    assert kspace.data[0, 0, :, 0].real.tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 0, 0]
    assert kspace.sampled[0, :, 0].tolist() == [True] * 9 + [False] * 3


def test_samples_an_asymmetric_echo_lacks_do_not_count_as_sampled() -> None:
    buffer = buffer_of(list(range(12)), 12)
    buffer.data[..., :3] = 0
    (kspace,) = kspaces_of(ReconData((ReconBit(buffer, None),)), header_from_xml(header_xml()))
    assert kspace.sampled[0, 5].tolist() == [False] * 3 + [True] * 5


def test_the_full_block_of_the_reference_lines_calibrates() -> None:
    bit = ReconBit(buffer_of([0, 2, 4, 6, 8, 10], 12), buffer_of([1, 4, 5, 6, 7], 12))
    (kspace,) = kspaces_of(ReconData((bit,)), header_from_xml(header_xml()))
    assert kspace.calibration is not None
    assert kspace.calibration[0, 0, :, 0].real.tolist() == [5, 6, 7, 8]


def test_embedded_reference_lines_are_samples_and_calibrate() -> None:
    bit = ReconBit(buffer_of([0, 2, 4, 6, 8, 10], 12), buffer_of([4, 5, 6, 7], 12))
    bit.data.data[..., 6, :] = 70
    (kspace,) = kspaces_of(ReconData((bit,)), header_from_xml(header_xml(parallel_imaging=EMBEDDED)))
    assert kspace.data[0, 0, :, 0].real.tolist() == [1, 0, 3, 0, 5, 6, 70, 8, 9, 0, 11, 0]
    assert kspace.sampled[0, :, 0].nonzero().flatten().tolist() == [0, 2, 4, 5, 6, 7, 8, 10]
    assert kspace.calibration is not None
    assert kspace.calibration[0, 0, :, 0].real.tolist() == [5, 6, 7, 8]


def test_embedded_reference_lines_averaged_over_images_only_calibrate() -> None:
    two = buffer_of([0, 2, 4, 6, 8, 10], 12)
    data, headers = np.repeat(two.data, 2, axis=2), np.repeat(two.headers, 2, axis=2)
    bit = ReconBit(Buffer(data, headers, two.sampling, False), buffer_of([4, 5, 6, 7], 12))
    header = header_from_xml(header_xml(parallel_imaging=EMBEDDED))
    for kspace in kspaces_of(ReconData((bit,)), header):
        assert kspace.sampled[0, :, 0].nonzero().flatten().tolist() == [0, 2, 4, 6, 8, 10]
        assert kspace.calibration is not None


def test_an_empty_encoding_space_gives_nothing() -> None:
    empty = Buffer(
        np.zeros(0, np.complex64), np.zeros(0, HEADER_DTYPE), np.zeros(1, SAMPLING_DTYPE)[0], False
    )
    assert list(kspaces_of(ReconData((ReconBit(empty, None),)), header_from_xml(header_xml()))) == []


class Bytes:
    """A source of the bytes of one message behind its id, to both readers."""

    def __init__(self, message: bytes) -> None:
        self._stream = io.BytesIO(message)
        assert read(self, GadgetMessageIdentifier) == 1050

    def read(self, n_bytes: int) -> bytes:
        return self._stream.read(n_bytes)

    def take(self, n_bytes: int, limit: int, what: str) -> memoryview:
        if n_bytes > limit:
            raise StreamError(f"{what}: {n_bytes}")
        taken = self._stream.read(n_bytes)
        assert len(taken) == n_bytes
        return memoryview(taken)

    @property
    def n_left(self) -> int:
        return len(self._stream.read())


def acquisitions(n: int, n_samples: int, n_dimensions: int = 0) -> list[ismrmrd.Acquisition]:
    random = np.random.default_rng(n)
    made = []
    for counter in range(n):
        data = random.normal(size=(3, n_samples)).astype(np.complex64)
        trajectory = random.normal(size=(n_samples, n_dimensions)).astype(np.float32)
        made.append(ismrmrd.Acquisition.from_array(data, trajectory if n_dimensions else None))
        made[-1].scan_counter = counter
    return made


def test_buckets_are_read_as_gadgetrons_own_reader_reads_them() -> None:
    message = bucket_bytes(acquisitions(5, 8) + acquisitions(3, 6, n_dimensions=2), acquisitions(2, 4))
    theirs, source = read_acquisition_bucket(Bytes(message)), Bytes(message)
    bucket = read_bucket(source)
    assert source.n_left == 0
    ours = [a for readouts in bucket.readouts for a in readouts.acquisitions()]
    for got, wanted in zip(ours, [*theirs.ref, *theirs.data], strict=True):
        assert got == wanted


def test_waveforms_of_a_bucket_are_read() -> None:
    """Gadgetron's Python reader cannot."""
    waveforms = [ismrmrd.Waveform.from_array(np.full((2, n), n, np.uint32)) for n in (3, 5)]
    bucket: Bucket = read_bucket(Bytes(bucket_bytes(acquisitions(1, 4), [], waveforms)))
    assert [w.data.tolist() for w in bucket.waveforms] == [w.data.tolist() for w in waveforms]
