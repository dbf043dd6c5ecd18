"""Files are read as the reference reader reads them, whatever their age, and refused with the reason."""

import fcntl
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest
from ismrmrd.hdf5 import acquisition_dtype, acquisition_header_dtype
from ismrmrd.serialization import ProtocolSerializer

from gadgets.records import HEADER_DTYPE, Readouts
from pipelines.mrd_header import header_from_xml
from pipelines.sources import open_scan
from recon_core.errors import InputError, StreamError

SPACE = (
    "<matrixSize><x>8</x><y>6</y><z>1</z></matrixSize>"
    "<fieldOfView_mm><x>200</x><y>150</y><z>5</z></fieldOfView_mm>"
)
XML = (
    '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
    "<experimentalConditions><H1resonanceFrequency_Hz>1</H1resonanceFrequency_Hz></experimentalConditions>"
    f"<encoding><encodedSpace>{SPACE}</encodedSpace><reconSpace>{SPACE}</reconSpace><encodingLimits/>"
    "<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
).encode()
RNG = np.random.default_rng(7)


def acquisition(counter: int, n_coils: int = 2, n_samples: int = 8, n_dims: int = 0) -> ismrmrd.Acquisition:
    shape = n_coils, n_samples
    data = (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)).astype(np.complex64)
    trajectory = RNG.normal(size=(n_samples, n_dims)).astype(np.float32) if n_dims else None
    made = ismrmrd.Acquisition.from_array(data, trajectory, scan_counter=counter)
    made.acquisition_time_stamp = 10 * counter
    made.idx.kspace_encode_step_1 = counter
    made.read_dir[0] = made.phase_dir[1] = made.slice_dir[2] = 1
    return made


def waveform(time_stamp: int, waveform_id: int = 0) -> ismrmrd.Waveform:
    samples = RNG.integers(0, 99, (2, 5)).astype(np.uint32)
    return ismrmrd.Waveform.from_array(samples, time_stamp=time_stamp, waveform_id=waveform_id)


def write(path: Path, items: Iterable[Any], group: str = "dataset", xml: bytes = XML) -> Path:
    with ismrmrd.Dataset(path, group) as dataset:
        dataset.write_xml_header(xml)
        for item in items:
            if isinstance(item, ismrmrd.Acquisition):
                dataset.append_acquisition(item)
            elif isinstance(item, ismrmrd.Waveform):
                dataset.append_waveform(item)
            else:
                dataset.append_image(f"image_{item.image_series_index}", item)
    return path


def acquisitions(path: Path, dataset: str | None = None) -> list[ismrmrd.Acquisition]:
    blocks = open_scan(path, dataset).items()
    return [a for block in blocks if isinstance(block, Readouts) for a in block.acquisitions()]


def test_bulk_reading_equals_the_reference_reader_on_real_files(shared_data: Path) -> None:
    files = sorted((shared_data / "raw").glob("*.h5"))
    assert files
    for path in files:
        with ismrmrd.Dataset(path, "dataset", mode="r") as dataset:
            xml, n_readouts = dataset.read_xml_header(), dataset.number_of_acquisitions()
            numbers = {0, 1, n_readouts // 2, n_readouts - 2, n_readouts - 1}
            expected = {i: dataset.read_acquisition(i) for i in numbers}
        got = acquisitions(path)
        assert open_scan(path).header_xml == xml
        assert len(got) == n_readouts
        assert all(got[i] == expected[i] for i in numbers), path.name


def test_order_survives_changes_of_shape(tmp_path: Path) -> None:
    shapes = [(4, 16, 0), (2, 8, 0), (2, 8, 0), (2, 8, 2), (3, 8, 2), (2, 8, 0), (2, 0, 0)]
    expected = [acquisition(i, *shape) for i, shape in enumerate(shapes)]
    path = write(tmp_path / "scan.h5", expected)
    assert acquisitions(path) == expected
    assert [len(block) for block in open_scan(path).items()] == [1, 2, 1, 1, 1, 1]


def test_a_scan_can_be_read_again_and_is_opened_by_content_not_by_suffix(tmp_path: Path) -> None:
    expected = [acquisition(i) for i in range(3)]
    scan = open_scan(write(tmp_path / "scan.jpg", expected))
    for _ in range(2):
        assert [a for block in scan.items() for a in block.acquisitions()] == expected


def test_waveforms_come_before_the_first_later_readout(tmp_path: Path) -> None:
    path = write(
        tmp_path / "scan.h5", [*(acquisition(i) for i in range(6)), *(waveform(t) for t in (5, 25, 25, 99))]
    )
    order: list[Any] = []
    for item in open_scan(path).items():
        if isinstance(item, Readouts):
            order += [int(c) for c in item.headers["scan_counter"]]
        else:
            order.append(f"at {item.time_stamp}")
    assert order == [0, "at 5", 1, 2, "at 25", "at 25", 3, 4, 5, "at 99"]


def test_waveforms_are_read_as_the_reference_reader_reads_them(tmp_path: Path) -> None:
    expected = waveform(3, waveform_id=2)
    path = write(tmp_path / "scan.h5", [acquisition(0), expected])
    (got,) = (item for item in open_scan(path).items() if isinstance(item, ismrmrd.Waveform))
    assert got.getHead() == expected.getHead()
    assert np.array_equal(got.data, expected.data)


def test_images_are_read_in_order_of_series_with_their_attributes(tmp_path: Path) -> None:
    expected = []
    for series, dtype in ((0, np.complex64), (2, np.uint16), (10, np.float32)):
        image = ismrmrd.Image.from_array(RNG.normal(size=(1, 2, 3, 4)).astype(dtype))
        image.image_series_index = series
        image.meta = {"ImageComment": f"ü {series}"}
        expected.append(image)
    got = list(open_scan(write(tmp_path / "images.h5", reversed(expected))).items())
    for wanted, found in zip(expected, got, strict=True):
        assert found.image_series_index == wanted.image_series_index
        assert found.meta == wanted.meta
        assert found.data.dtype == wanted.data.dtype
        assert np.array_equal(found.data, wanted.data)


def test_the_only_group_is_found_and_several_must_be_told_apart(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", [acquisition(1)], group="second try")
    assert acquisitions(path)[0].scan_counter == 1
    write(path, [acquisition(2)], group="third")
    with pytest.raises(InputError, match="second try, third"):
        open_scan(path)
    assert acquisitions(path, "third")[0].scan_counter == 2
    with pytest.raises(InputError, match="'fourth', got second try, third"):
        open_scan(path, "fourth")
    write(path, [acquisition(3)], group="dataset")
    assert acquisitions(path)[0].scan_counter == 3


def old_layout(made: list[ismrmrd.Acquisition], version: int) -> np.ndarray[Any, Any]:
    """Rows as the library of 2012 (1: complex pairs, 2: floats; both with quaternions) or 2014 (3) wrote."""
    complex_pair = np.dtype([("real", "<f4"), ("imag", "<f4")])
    number = complex_pair if version == 1 else np.dtype("<f4")
    fields: list[Any] = []
    for name in acquisition_header_dtype.names:
        dtype = acquisition_header_dtype[name]
        if name == "read_dir" and version < 3:
            fields.append(("quaternion", "<f4", (4,)))
        elif name == "physiology_time_stamp" and version == 3:
            fields.append((name, "<u4", (8,)))
        elif not name.endswith("_dir") or version == 3:
            fields.append((name, dtype))
    vlen = h5py.vlen_dtype
    rows = np.empty(len(made), [("head", fields), ("traj", vlen(np.dtype("<f4"))), ("data", vlen(number))])
    for row, one in zip(rows, made, strict=True):
        head = np.frombuffer(bytes(one.getHead()), HEADER_DTYPE)[0]
        for name in row["head"].dtype.names:
            if name == "quaternion":
                row["head"][name] = [0, 0, np.sqrt(0.5), np.sqrt(0.5)]  # 90 degrees about z
            elif name == "physiology_time_stamp":
                row["head"][name][..., :3] = head[name]
            else:
                row["head"][name] = head[name]
        row["traj"] = np.empty(0, np.float32)
        row["data"] = one.data.reshape(-1).view(number)
    return rows


@pytest.mark.parametrize("version", [1, 2, 3])
def test_files_of_old_library_versions_read_as_today(tmp_path: Path, version: int) -> None:
    expected = [acquisition(i) for i in range(3)]
    with h5py.File(tmp_path / "old.h5", "w") as file:
        rows = old_layout(expected, version)
        data = file.create_dataset("dataset/data", (len(rows), 1), rows.dtype)
        data[:, 0] = rows
        file["dataset/xml"] = np.array([XML + b"\0junk"])
    if version < 3:
        for one in expected:
            one.read_dir[:], one.phase_dir[:], one.slice_dir[:] = (0, 1, 0), (-1, 0, 0), (0, 0, 1)
    got = acquisitions(tmp_path / "old.h5")
    for one, wanted in zip(got, expected, strict=True):
        for direction in ("read_dir", "phase_dir", "slice_dir"):
            assert np.allclose(getattr(one, direction), getattr(wanted, direction), atol=1e-6)
            setattr(one, direction, getattr(wanted, direction))
        assert one == wanted
    assert header_from_xml(open_scan(tmp_path / "old.h5").header_xml) == header_from_xml(XML)


def test_a_file_locked_by_its_writer_is_read_and_left_as_it_was(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", [acquisition(0)])
    before = path.read_bytes()
    with path.open("rb") as locked:
        fcntl.flock(locked, fcntl.LOCK_EX)
        assert len(acquisitions(path)) == 1
    assert path.read_bytes() == before


def stream(path: Path, items: Iterable[Any]) -> Path:
    with ProtocolSerializer(str(path)) as serializer:
        for item in items:
            serializer.serialize(item)
    return path


def test_a_stream_gives_what_the_hdf5_file_gives(tmp_path: Path) -> None:
    expected = [acquisition(i, n_samples=8 + 2 * (i == 0)) for i in range(4)]
    path = stream(tmp_path / "scan", [header_from_xml(XML), expected[0], waveform(1), *expected[1:]])
    scan = open_scan(path)
    assert header_from_xml(scan.header_xml) == header_from_xml(XML)
    assert acquisitions(path) == expected
    assert sum(isinstance(item, ismrmrd.Waveform) for item in scan.items()) == 1


def test_a_cut_stream_gives_its_whole_readouts_then_the_reason(tmp_path: Path) -> None:
    path = stream(tmp_path / "scan", [header_from_xml(XML), *(acquisition(i) for i in range(4))])
    path.write_bytes(path.read_bytes()[:-100])
    read: list[Any] = []
    with pytest.raises(StreamError, match=str(path)):
        read.extend(open_scan(path).items())
    assert [int(c) for block in read for c in block.headers["scan_counter"]] == [0, 1, 2]


@pytest.mark.parametrize("items", [[], [acquisition(0)]])
def test_a_stream_without_header_before_its_data_is_refused(tmp_path: Path, items: list[Any]) -> None:
    with pytest.raises(StreamError, match="expected an MRD header"):
        open_scan(stream(tmp_path / "scan", items))


def test_a_stream_with_two_headers_is_refused(tmp_path: Path) -> None:
    header = header_from_xml(XML)
    path = stream(tmp_path / "scan", [header, acquisition(0), header])
    with pytest.raises(StreamError, match="two"):
        list(open_scan(path).items())


def test_an_image_stream_needs_no_header(tmp_path: Path) -> None:
    image = ismrmrd.Image.from_array(np.ones((2, 3), np.float32))
    scan = open_scan(stream(tmp_path / "images", [image]))
    assert scan.header_xml == b""
    assert len(list(scan.items())) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [(b"", "empty"), (b"MATLAB 5.0 MAT-file", "MATLAB"), (b"\x01", "begins with"), (None, "No such file")],
)
def test_what_is_no_scan_is_refused_with_the_reason(tmp_path: Path, content: bytes | None, says: str) -> None:
    path = tmp_path / "scan.h5"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=says):
        open_scan(path)
    with pytest.raises(InputError, match="Is a directory"):
        open_scan(tmp_path)


def test_hdf5_without_a_scan_or_without_its_header_is_refused(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["kspace"] = np.zeros(3)
    with pytest.raises(InputError, match="kspace"):
        open_scan(tmp_path / "other.h5")
    path = write(tmp_path / "scan.h5", [acquisition(0)])
    with h5py.File(path, "a") as file:
        del file["dataset/xml"]
    with pytest.raises(InputError, match="dataset/xml"):
        open_scan(path)


def test_a_truncated_or_inconsistent_hdf5_file_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", [acquisition(i) for i in range(4)])
    (tmp_path / "cut.h5").write_bytes(path.read_bytes()[:-3000])
    with pytest.raises(InputError, match="damaged"):
        open_scan(tmp_path / "cut.h5")
    with h5py.File(path, "a") as file:
        row = file["dataset/data"][2]
        row["head"]["number_of_samples"] = 5
        file["dataset/data"][2] = row
    with pytest.raises(InputError, match="readout 2"):
        acquisitions(path)


def test_compressed_readouts_are_refused(tmp_path: Path) -> None:
    compressed = acquisition(0)
    compressed.set_flag(ismrmrd.ACQ_COMPRESSION1)
    with pytest.raises(InputError, match="compress"):
        acquisitions(write(tmp_path / "scan.h5", [compressed]))


def test_headers_keep_their_layout(tmp_path: Path) -> None:
    path = write(tmp_path / "scan.h5", [acquisition(4)])
    with h5py.File(path, "r") as file:
        assert file["dataset/data"].dtype["head"] == acquisition_dtype["head"]
    (block,) = open_scan(path).items()
    assert isinstance(block, Readouts)
    assert block.headers.dtype == HEADER_DTYPE
