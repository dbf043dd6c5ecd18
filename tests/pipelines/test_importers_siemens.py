"""Siemens twix files: samples as twixtools reads them, geometry as the protocol states it."""

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import twixtools

from gadgets.records import Readouts
from pipelines.importers import import_scan, kind_of
from pipelines.mrd_header import header_from_xml
from pipelines.recipe import recipe_by_name
from pipelines.reconstruction import reconstruct_scan
from pipelines.sources import Scan, open_scan
from recon_core.errors import GadgetError, InputError


@pytest.fixture(scope="module")
def gre(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Scan:
    source = shared_data / "raw" / "siemens_twix_phantom_gre.dat"
    return open_scan(import_scan(source, tmp_path_factory.mktemp("twix") / "gre.h5"))


def readouts(scan: Scan) -> list[Any]:
    items = scan.items()
    return [a for block in items if isinstance(block, Readouts) for a in block.acquisitions()]


def test_samples_and_counters_are_those_of_twixtools(gre: Scan, shared_data: Path) -> None:
    path = shared_data / "raw" / "siemens_twix_phantom_gre.dat"
    blocks = twixtools.read_twix(str(path), verbose=False, parse_geometry=False)[-1]["mdb"]
    for acquisition, block in zip(readouts(gre), blocks, strict=True):
        assert np.array_equal(acquisition.data, block.data)
        assert acquisition.idx.kspace_encode_step_1 == block.cLin
        assert acquisition.scan_counter == block.mdh.ScanCounter
        assert acquisition.center_sample == 160
        assert acquisition.sample_time_us == pytest.approx(11.6)


def test_the_encoding_is_the_protocols(gre: Scan) -> None:
    header = header_from_xml(gre.header_xml)
    encoding = header.encoding[0]
    assert (encoding.encodedSpace.matrixSize.x, encoding.reconSpace.matrixSize.x) == (320, 160)
    assert (encoding.encodedSpace.fieldOfView_mm.x, encoding.reconSpace.fieldOfView_mm.x) == (400, 200)
    assert encoding.encodingLimits.kspace_encoding_step_1.center == 80
    assert header.experimentalConditions.H1resonanceFrequency_Hz == 123263034
    assert header.sequenceParameters.TE == [3.0]


def test_directions_and_position_are_those_of_the_protocol_and_of_twixtools(
    gre: Scan, shared_data: Path
) -> None:
    path = shared_data / "raw" / "siemens_twix_phantom_gre.dat"
    twix = twixtools.read_twix(str(path), verbose=False)[-1]
    phase, read, normal = twix["geometry"][0].prs_to_pcs().T
    first = readouts(gre)[0]
    assert np.allclose(first.read_dir[:], read, atol=1e-6)
    assert np.allclose(first.phase_dir[:], phase, atol=1e-6)
    assert np.allclose(first.slice_dir[:], normal, atol=1e-6)
    protocol = twix["hdr"]["MeasYaps"]["sSliceArray"]["asSlice"][0]
    for direction, position, name in zip(
        first.slice_dir, first.position, ("dSag", "dCor", "dTra"), strict=True
    ):
        assert direction == pytest.approx(protocol["sNormal"].get(name, 0), abs=1e-6)
        assert position == pytest.approx(protocol["sPosition"][name], abs=1e-3)


def test_the_gradient_echo_reconstructs_to_the_phantom(gre: Scan, shared_data: Path) -> None:
    """Equal to twixtools' samples under numpy's transform: the ACR phantom, 190 mm across."""
    path = shared_data / "raw" / "siemens_twix_phantom_gre.dat"
    blocks = twixtools.read_twix(str(path), verbose=False, parse_geometry=False)[-1]["mdb"]
    kspace = np.stack([block.data for block in sorted(blocks, key=lambda block: block.cLin)], axis=1)
    coils = np.fft.fftshift(np.fft.ifft2(np.fft.ifftshift(kspace, axes=(1, 2)), norm="ortho"), axes=(1, 2))
    expected = np.linalg.norm(coils, axis=0)[:, 80:240]
    recipe = recipe_by_name("cartesian_fft").with_parameters({"FourierReconstruction.combine": "rss"})
    (image,) = reconstruct_scan(recipe, gre.header_xml, gre.items())
    pixels = np.abs(image.data[0, 0])
    scale = (pixels * expected).sum() / (pixels * pixels).sum()
    assert np.linalg.norm(scale * pixels - expected) < 1e-4 * np.linalg.norm(expected)
    x = np.argwhere(pixels > 0.3 * pixels.max())[:, 1]
    assert (np.ptp(x) + 1) * 200 / 160 == pytest.approx(190, abs=5)
    assert np.percentile(pixels, 99) > 15 * np.percentile(pixels, 5)


def test_epi_is_imported_whole_but_not_reconstructed_as_if_it_were_cartesian(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        path = import_scan(shared_data / "raw" / "siemens_twix_phantom_epi.dat", tmp_path / "epi.h5")
    assert "EPI" in caplog.text
    scan = open_scan(path)
    assert header_from_xml(scan.header_xml).encoding[0].trajectory.value == "epi"
    blocks = [block for block in scan.items() if isinstance(block, Readouts)]
    assert sum(len(block) for block in blocks) == 83
    assert sum(int(block.flagged("IS_PHASECORR_DATA").sum()) for block in blocks) == 3
    assert sum(int(block.flagged("IS_REVERSE").sum()) for block in blocks) == 42
    with pytest.raises(GadgetError, match="epi"):
        list(reconstruct_scan(recipe_by_name("cartesian_fft"), scan.header_xml, scan.items()))


def test_other_measurements_and_damaged_files_are_refused(shared_data: Path, tmp_path: Path) -> None:
    source = shared_data / "raw" / "siemens_twix_phantom_gre.dat"
    assert kind_of(source) == "siemens"
    with pytest.raises(InputError, match="below 1, got 3"):
        import_scan(source, tmp_path / "out.h5", measurement=3)
    (tmp_path / "cut.dat").write_bytes(source.read_bytes()[:20_000])
    with pytest.raises(InputError, match="expected readouts, got none"):
        import_scan(tmp_path / "cut.dat", tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def test_a_file_cut_short_gives_its_whole_readouts(
    shared_data: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    source = shared_data / "raw" / "siemens_twix_phantom_gre.dat"
    (tmp_path / "cut.dat").write_bytes(source.read_bytes()[:1_000_000])
    with caplog.at_level(logging.WARNING):
        path = import_scan(tmp_path / "cut.dat", tmp_path / "out.h5")
    assert "37 readouts" in caplog.text
    assert len(readouts(open_scan(path))) == 37
