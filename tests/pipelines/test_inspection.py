"""An inspection says what is in a file, checked against files of which that is known."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import ismrmrd
import msgspec
import numpy as np
import pytest

from pipelines.importers import import_scan
from pipelines.inspection import inspect_scan, sampling_picture
from recon_core.errors import InputError


def shepp_logan(path: Path, *options: str) -> Path:
    command = ["ismrmrd_generate_cartesian_shepp_logan", "-m", "32", "-c", "2", "-o", path, *options]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("ismrmrd-tools is not installed")
    return path


def imported(tmp_path: Path, array: np.ndarray[Any, Any], axes: str) -> Path:
    np.save(tmp_path / "k.npy", array.astype(np.complex64))
    return import_scan(tmp_path / "k.npy", tmp_path / "scan.h5", axes=axes)


def picture(path: Path) -> np.ndarray[Any, Any]:
    from PIL import Image

    with Image.open(path) as image:
        return np.asarray(image)


def test_a_real_converters_file_is_told_as_it_is(shared_data: Path) -> None:
    """GRAPPA 3, 48 calibration lines of which 16 also image, one noise readout: see the data's README."""
    found = inspect_scan(shared_data / "raw" / "siemens_phantom_14ch_grappa3_noise.h5")
    assert (found.format, found.n_readouts, found.shapes) == ("ISMRMRD HDF5", 69, {"14 x 384": 69})
    assert found.protocol == "SNR_R3"
    assert found.dependencies["Noise"] == "45387_1079885_1079904_343"
    assert found.flags["IS_PARALLEL_CALIBRATION"] == 32
    assert found.noise is not None
    assert (found.noise.n_readouts, found.noise.dwell_time_us, len(found.noise.std)) == (1, 20.0, 14)
    (space,) = found.encodings
    assert space.acceleration == (3, 1)
    assert space.sampling is not None
    assert space.sampling.acceleration == (3, 1)
    assert space.sampling.calibration == (48, 1)
    assert space.sampling.n_missing == 0
    assert "68 in 1 images: 36 of 36 expected, 32 besides, as calibration lines are" in found.render()
    assert space.counters["kspace_encode_step_1"].limits == (0, 105)
    assert not found.interrupted


def test_the_noise_level_and_acceleration_of_a_generated_scan_are_found(tmp_path: Path) -> None:
    found = inspect_scan(shepp_logan(tmp_path / "s.h5", "-C", "-a", "2", "-w", "8", "-r", "2", "-n", "0.5"))
    assert found.noise is not None
    assert found.noise.std == pytest.approx([0.5 * 2**0.5] * 2, rel=0.15)
    (space,) = found.encodings
    assert space.sampling is not None
    assert space.sampling.n_images == 4  # each repetition comes once for each shift of its lines
    assert space.sampling.acceleration == (2, 1)
    assert space.sampling.n_missing == 0


def test_missing_lines_are_counted(tmp_path: Path) -> None:
    array = np.ones((2, 1, 24, 16))
    array[1, :, 5] = array[1, :, 9] = 0
    found = inspect_scan(imported(tmp_path, array, "slice coil ky kx"))
    (space,) = found.encodings
    assert space.sampling is not None
    assert (space.sampling.n_missing, space.sampling.n_expected, space.sampling.n_lines) == (2, 48, 46)
    assert found.render().count("46 in 2 images: 46 of 48 expected\n") == 1


def test_a_three_dimensional_pattern_is_seen_along_both_axes(tmp_path: Path) -> None:
    array = np.zeros((12, 24, 8))
    array[::3, ::2] = 1
    path = imported(tmp_path, array, "kz ky kx")
    (space,) = inspect_scan(path).encodings
    assert space.sampling is not None
    assert space.sampling.acceleration == (2, 3)
    assert np.array_equal(space.sampling.mask, array[..., 0].astype(bool))
    shown = picture(sampling_picture(path, tmp_path / "s.png"))
    assert np.array_equal(shown[1:-1, 1:-1, 0] == 255, array[..., 0].astype(bool))


def test_counters_outside_their_limits_are_pointed_at(tmp_path: Path) -> None:
    path = imported(tmp_path, np.ones((1, 8, 8)), "coil ky kx")
    with ismrmrd.Dataset(path, "dataset") as dataset:
        acquisition = dataset.read_acquisition(3)
        acquisition.idx.repetition = 4
        dataset.write_acquisition(acquisition, 3)
    found = inspect_scan(path)
    assert not found.encodings[0].counters["repetition"].is_within_limits
    assert "OUTSIDE" in found.render()


def test_other_trajectories_are_told_and_drawn(shared_data: Path, tmp_path: Path) -> None:
    path = shared_data / "raw" / "brain_radial_goldenangle_vfa_5ch.h5"
    found = inspect_scan(path)
    assert found.shapes == {"5 x 512, trajectory in 2 dimensions": 340}
    assert found.encodings[0].trajectory == "goldenangle"
    assert found.encodings[0].sampling is None
    shown = picture(sampling_picture(path, tmp_path / "s.png"))[..., 0]
    y, x = np.nonzero(shown)
    assert np.hypot(y - 255.5, x - 255.5).max() < 258  # spokes fill a disc, and its centre most
    assert shown[254:258, 254:258].max() == 255


def test_the_picture_has_a_row_for_each_slice_and_colours_calibration(
    shared_data: Path, tmp_path: Path
) -> None:
    lowfield = sampling_picture(shared_data / "raw" / "brain_lowfield_a_gre_1ch.h5", tmp_path / "l.png")
    assert picture(lowfield).shape == (4 * 8, 198, 3)
    grappa = sampling_picture(
        shared_data / "raw" / "siemens_phantom_14ch_grappa3_noise.h5", tmp_path / "g.png"
    )
    colours, counts = np.unique(picture(grappa)[4, 1:-1].reshape(-1, 3), axis=0, return_counts=True)
    assert dict(zip(map(tuple, colours.tolist()), counts.tolist(), strict=True)) == {
        (24, 24, 24): 144 - 68,
        (40, 90, 255): 32,
        (150, 190, 255): 16,
        (255, 255, 255): 20,
    }


def test_waveforms_images_and_interruptions_of_streams_are_told(tmp_path: Path, simulated_file: Path) -> None:
    from ismrmrd.serialization import ProtocolSerializer

    # HDF5 refuses to open a file with locks, as ismrmrd does, that the process still has open without.
    own = shutil.copy(simulated_file, tmp_path / "scan.h5")
    with ismrmrd.Dataset(own, "dataset", mode="r") as dataset:
        header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
        acquisitions = [dataset.read_acquisition(i) for i in range(10)]
    path = tmp_path / "stream"
    with ProtocolSerializer(str(path)) as serializer:
        for item in (
            header,
            *acquisitions,
            ismrmrd.Waveform.from_array(np.zeros((1, 4), np.uint32), waveform_id=3),
        ):
            serializer.serialize(item)
    whole = inspect_scan(path)
    assert (whole.format, whole.n_readouts, whole.n_waveforms, whole.interrupted) == (
        "MRD stream",
        10,
        {3: 1},
        "",
    )
    content = path.read_bytes()
    path.write_bytes(content[:-2])
    assert "without CLOSE" in inspect_scan(path).interrupted
    path.write_bytes(content[:-200])
    cut = inspect_scan(path)
    assert cut.n_readouts == 9
    assert "INTERRUPTED" in str(cut)


def test_the_findings_are_plain_data_and_words(simulated_file: Path) -> None:
    found = inspect_scan(simulated_file)
    assert msgspec.json.decode(msgspec.json.encode(found)) == msgspec.json.decode(
        msgspec.json.encode(found.to_dict())
    )
    for words in ("noise scan", "kspace_encode_step_1", "2 x 1 seen", "█"):
        assert words in found.render()


def test_a_header_that_claims_a_gigantic_matrix_costs_no_memory(tmp_path: Path) -> None:
    path = imported(tmp_path, np.ones((1, 8, 8)), "coil ky kx")
    with ismrmrd.Dataset(path, "dataset") as dataset:
        xml = (
            dataset.read_xml_header()
            .replace(b"<y>8</y>", b"<y>65000</y>")
            .replace(b"<z>1</z>", b"<z>65000</z>")
        )
        dataset.write_xml_header(xml)
    assert inspect_scan(path).encodings[0].sampling is None


def test_a_file_of_images_has_no_sampling_to_draw(tmp_path: Path) -> None:
    with ismrmrd.Dataset(tmp_path / "i.h5", "dataset") as dataset:
        dataset.append_image("image_0", ismrmrd.Image.from_array(np.ones((3, 4), np.float32)))
    assert inspect_scan(tmp_path / "i.h5").n_images == 1
    with pytest.raises(InputError, match="no sampling"):
        sampling_picture(tmp_path / "i.h5", tmp_path / "s.png")
