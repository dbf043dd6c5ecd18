"""MRD output, as HDF5 and as a stream, is read back by the reference library image for image."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest
from ismrmrd.serialization import ProtocolDeserializer

from pipelines.outputs import OUTPUTS, write_all
from pipelines.sources import open_scan
from recon_core.errors import InputError

XML = (
    b'<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><experimentalConditions>'
    b"<H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz></experimentalConditions>"
    b"<encoding><encodedSpace><matrixSize><x>4</x><y>3</y><z>2</z></matrixSize>"
    b"<fieldOfView_mm><x>4</x><y>3</y><z>2</z></fieldOfView_mm></encodedSpace>"
    b"<reconSpace><matrixSize><x>4</x><y>3</y><z>2</z></matrixSize>"
    b"<fieldOfView_mm><x>4</x><y>3</y><z>2</z></fieldOfView_mm></reconSpace><encodingLimits/>"
    b"<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
)
DTYPES = ("uint16", "int16", "uint32", "float32", "float64", "complex64", "complex128")


def image(series: int, dtype: str = "complex64", shape: tuple[int, ...] = (2, 2, 3, 4)) -> ismrmrd.Image:
    rng = np.random.default_rng(series)
    values = 100 * rng.normal(size=shape) + 1j * rng.normal(size=shape)
    array = values.astype(dtype) if "complex" in dtype else np.abs(values).astype(dtype)
    made = ismrmrd.Image.from_array(array)
    made.image_series_index = series
    made.position[:] = (1, 2, 3)
    made.meta = {"SeriesDescription": f"größer {series}", "Window": ["1", "2"]}
    return made


def assert_same(got: ismrmrd.Image, wanted: ismrmrd.Image) -> None:
    assert got.data.dtype == wanted.data.dtype
    assert np.array_equal(got.data, wanted.data)
    assert got.meta == wanted.meta
    for field, _ in ismrmrd.ImageHeader._fields_:
        if field != "attribute_string_len":
            assert np.array_equal(np.array(getattr(got.getHead(), field)), getattr(wanted.getHead(), field))


def test_the_reference_library_reads_every_pixel_type_back(tmp_path: Path) -> None:
    images = [image(series, dtype) for series, dtype in enumerate(DTYPES)] * 2
    (path,) = write_all(iter(images), tmp_path, "scan", XML + b"\0")
    assert path == tmp_path / "scan.h5"
    with ismrmrd.Dataset(path, "dataset", mode="r") as dataset:
        assert dataset.read_xml_header() == XML
        for series, wanted in enumerate(images[: len(DTYPES)]):
            assert dataset.number_of_images(f"image_{series}") == 2
            assert_same(dataset.read_image(f"image_{series}", 1), wanted)


def test_the_reference_library_reads_the_stream_back(tmp_path: Path) -> None:
    images = [image(series, dtype) for series, dtype in enumerate(DTYPES)]
    (path,) = write_all(images, tmp_path, "scan", XML, ["stream"])
    assert path == tmp_path / "scan.mrd"
    with ProtocolDeserializer(str(path)) as stream:
        header, *read = stream.deserialize()
    assert header == ismrmrd.xsd.CreateFromDocument(XML)
    for got, wanted in zip(read, images, strict=True):
        assert_same(got, wanted)


@pytest.mark.parametrize("output", ["mrd", "stream"])
def test_our_own_reader_reads_back_32_bit_integers_too(tmp_path: Path, output: str) -> None:
    wanted = ismrmrd.Image.from_array(np.arange(-3, 3).reshape(2, 3))
    assert wanted.data_type == ismrmrd.DATATYPE_INT
    (path,) = write_all([wanted], tmp_path, "scan", XML, [output])
    (got,) = open_scan(path).items()
    assert isinstance(got, ismrmrd.Image)
    assert np.array_equal(got.data, wanted.data)


def test_images_of_one_series_but_other_shape_lose_nothing(tmp_path: Path) -> None:
    images = [image(3), image(3, shape=(1, 1, 5, 5)), image(3)]
    (path,) = write_all(images, tmp_path, "scan", XML)
    with ismrmrd.Dataset(path, "dataset", mode="r") as dataset:
        assert dataset.number_of_images("image_3") == 2
        assert_same(dataset.read_image("image_3_1", 0), images[1])


def test_a_nul_in_the_attributes_does_not_break_the_file(tmp_path: Path) -> None:
    broken = image(0)
    broken.meta = {"Comment": "a\0b"}
    (path,) = write_all([broken], tmp_path, "scan", XML)
    with ismrmrd.Dataset(path, "dataset", mode="r") as dataset:
        assert dataset.read_image("image_0", 0).meta == {"Comment": "ab"}


def test_the_file_is_laid_out_as_the_cpp_library_lays_it_out(tmp_path: Path) -> None:
    if shutil.which("ismrmrd_recon_cartesian_2d") is None:
        pytest.skip("ismrmrd-tools is not installed")
    theirs = tmp_path / "theirs.h5"
    subprocess.run(
        ["ismrmrd_generate_cartesian_shepp_logan", "-m", "16", "-c", "1", "-o", theirs], check=True
    )
    subprocess.run(["ismrmrd_recon_cartesian_2d", theirs], check=True)
    (ours,) = write_all([image(0, "float32")], tmp_path, "ours", XML)
    with h5py.File(theirs) as expected, h5py.File(ours) as got:
        for part in ("header", "attributes", "data"):
            wanted, found = expected[f"dataset/cpp/{part}"], got[f"dataset/image_0/{part}"]
            assert found.id.get_type() == wanted.id.get_type()
            assert found.ndim == wanted.ndim
        assert got["dataset/xml"].id.get_type() == expected["dataset/xml"].id.get_type()


@pytest.mark.parametrize("output", OUTPUTS)
def test_an_interrupted_run_leaves_no_file(tmp_path: Path, output: str) -> None:
    def interrupted() -> Iterator[Any]:
        yield image(0)
        assert not [path for path in tmp_path.iterdir() if not path.name.startswith(".")]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_all(interrupted(), tmp_path, "scan", XML, [output])
    assert list(tmp_path.iterdir()) == []


def n_bytes(path: Path) -> int:
    """Of a file, or of all in a folder."""
    return sum(file.stat().st_size for file in (path, *path.rglob("*")) if file.is_file())


@pytest.mark.parametrize("output", OUTPUTS)
def test_writing_again_replaces_and_no_images_make_no_file(tmp_path: Path, output: str) -> None:
    assert write_all([], tmp_path / "none", "scan", XML, [output]) == []
    first = write_all([image(0), image(0)], tmp_path, "scan", XML, [output])
    sizes = [n_bytes(path) for path in first]
    assert write_all([image(0)], tmp_path, "scan", XML, [output]) == first
    assert [n_bytes(path) for path in first] != sizes
    assert sorted(tmp_path.iterdir()) == sorted(first)


def test_unknown_formats_are_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"mrd, stream, png, nifti, dicom, npy, got gif"):
        write_all([], tmp_path, "scan", XML, ["mrd", "gif"])


def test_writing_keeps_one_image_in_memory(tmp_path: Path) -> None:
    writer = OUTPUTS["mrd"](tmp_path, "scan", XML)
    with writer:
        for _ in range(3):
            writer.write(image(0))
        partial = next(iter(tmp_path.iterdir()))
        assert partial.stat().st_size > 3 * image(0).data.nbytes
    with h5py.File(tmp_path / "scan.h5") as file:
        assert file["dataset/image_0/data"].chunks == (1, 2, 2, 3, 4)
