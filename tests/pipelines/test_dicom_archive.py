"""DicomOut in a server: images go to the client, to the folder, then to the archive; never elsewhere."""

import logging
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pynetdicom import AE, evt
from pynetdicom.sop_class import MRImageStorage

from pipelines import client
from pipelines.cli import app
from pipelines.dicom_node import Node
from pipelines.gadgetron_xml import recipe_from_xml
from pipelines.outputs.dicom_archive import DicomArchive
from pipelines.recipe import recipe_from_toml
from pipelines.reconstruction import reconstruct_scan
from pipelines.server import Server
from pipelines.sources import open_scan
from recon_core.errors import InputError, RecipeError
from tests.pipelines.dicom_tools import PYNETDICOM_LEAVES_SOCKETS, dciodvfy_errors

RECIPE = """
name = "kept"
about = "Fourier transform, kept as DICOM"
[[gadget]]
use = "NoiseAdjust"
[[gadget]]
use = "Accumulate"
[[gadget]]
use = "FourierReconstruction"
[[gadget]]
use = "ImageType"
[[gadget]]
use = "DicomOut"
"""


class Pacs:
    """An archive by another implementation, which remembers what it got."""

    def __init__(self) -> None:
        self.uids: list[str] = []
        entity = AE("PACS")
        entity.add_supported_context(MRImageStorage)
        handlers: list[Any] = [(evt.EVT_C_STORE, self._keep)]
        self._server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
        self.node = Node("PACS", *self._server.server_address)

    def _keep(self, event: Any) -> int:
        self.uids.append(str(event.request.AffectedSOPInstanceUID))
        return 0

    def close(self) -> None:
        self._server.shutdown()


@pytest.fixture
def pacs() -> Iterator[Pacs]:
    archive = Pacs()
    yield archive
    archive.close()


def sent(server: Server, path: Path, recipe: str = RECIPE) -> list[Any]:
    scan = open_scan(path)
    host, port = server.address
    return list(client.send(scan.header_xml, scan.items(), recipe, host=host, port=port, timeout_s=60))


def until(condition: Any, timeout_s: float = 20) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_images_reach_client_folder_and_archive(simulated_file: Path, tmp_path: Path, pacs: Pacs) -> None:
    with Server(port=0, archive=DicomArchive(tmp_path / "dicom", pacs.node)) as server:
        images = sent(server, simulated_file)
        files = list((tmp_path / "dicom").rglob("*.dcm"))
        until(lambda: len(pacs.uids) == len(files))
    assert len(files) == len(images) == 2
    kept = [pydicom.dcmread(path) for path in files]
    assert {ds.SOPInstanceUID for ds in kept} == set(pacs.uids)
    assert {path.parent.name for path in files} == {ds.SeriesInstanceUID for ds in kept}
    by_number = sorted(kept, key=lambda ds: ds.InstanceNumber)
    for ds, image in zip(by_number, images, strict=True):
        values = ds.pixel_array * float(ds.RescaleSlope) + float(ds.RescaleIntercept)
        assert np.abs(values - image.data[0, 0]).max() <= float(ds.RescaleSlope) / 2 * 1.001
        assert "recipe kept" in ds.ContributingEquipmentSequence[0].ContributionDescription
        assert dciodvfy_errors(Path(ds.filename)) == []


def test_the_same_scan_again_is_the_same_files(simulated_file: Path, tmp_path: Path) -> None:
    with Server(port=0, archive=DicomArchive(tmp_path)) as server:
        sent(server, simulated_file)
        before = {path: path.read_bytes() for path in tmp_path.rglob("*.dcm")}
        sent(server, simulated_file)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.filterwarnings(PYNETDICOM_LEAVES_SOCKETS)
def test_an_archive_that_is_gone_costs_nobody_an_image(
    simulated_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gone = Node("PACS", "127.0.0.1", taken.getsockname()[1])
    archive = DicomArchive(tmp_path, gone)
    with caplog.at_level(logging.ERROR), Server(port=0, archive=archive) as server:
        assert len(sent(server, simulated_file)) == 2
        until(lambda: "later: reconstream send-dicom" in caplog.text)
    assert "Connection refused" in caplog.text
    assert str(tmp_path) in caplog.text
    assert len(list(tmp_path.rglob("*.dcm"))) == 2


def test_a_full_disk_costs_nobody_an_image(
    simulated_file: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pydicom.Dataset, "save_as", full)
    scan = open_scan(simulated_file)
    recipe = recipe_from_toml(RECIPE, "here")
    images = reconstruct_scan(recipe, scan.header_xml, scan.items(), archive=DicomArchive(tmp_path))
    assert len(list(images)) == 2
    assert "not kept as DICOM: [Errno 28] No space left on device" in caplog.text


def test_without_a_folder_images_pass_and_it_is_said(
    simulated_file: Path, caplog: pytest.LogCaptureFixture
) -> None:
    scan = open_scan(simulated_file)
    with_dicom = list(reconstruct_scan(recipe_from_toml(RECIPE, "here"), scan.header_xml, scan.items()))
    plain = recipe_from_toml(RECIPE.replace('[[gadget]]\nuse = "DicomOut"', ""), "here")
    without = list(reconstruct_scan(plain, scan.header_xml, scan.items()))
    assert [image.data.tobytes() for image in with_dicom] == [image.data.tobytes() for image in without]
    assert "--dicom-folder" in caplog.text


@pytest.mark.parametrize("parameter", ["folder", "node", "path", "host"])
def test_a_recipe_cannot_name_a_place(parameter: str) -> None:
    with pytest.raises(RecipeError, match="DicomOut"):
        recipe_from_toml(f'{RECIPE}with = {{ {parameter} = "/tmp/elsewhere" }}\n', "from the wire")


def test_uids_that_are_paths_lead_nowhere(simulated_file: Path, tmp_path: Path) -> None:
    """A client's header names a study and a frame of reference; neither becomes a path."""
    scan = open_scan(simulated_file)
    evil = b"<studyInformation><studyInstanceUID>../../evil</studyInstanceUID></studyInformation>"
    header = scan.header_xml.replace(b"<experimentalConditions>", evil + b"<experimentalConditions>", 1)
    assert evil in header
    recipe = recipe_from_toml(RECIPE, "here")
    folder = tmp_path / "deep" / "down" / "dicom"
    list(reconstruct_scan(recipe, header, scan.items(), archive=DicomArchive(folder)))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert len(files) == 2
    assert all(path.parent.parent == folder for path in files)
    assert folder.stat().st_mode & 0o077 == 0


def test_gadgetrons_dicom_finish_gadget_is_dicom_out() -> None:
    xml = """<gadgetronStreamConfiguration xmlns="http://gadgetron.sf.net/gadgetron">
    <gadget><name>Acc</name><dll>gadgetron_mricore</dll><classname>AccumulatorGadget</classname></gadget>
    <gadget><name>Recon</name><dll>gadgetron_mricore</dll><classname>SimpleReconGadget</classname></gadget>
    <gadget><name>Extract</name><dll>gadgetron_mricore</dll><classname>ExtractGadget</classname></gadget>
    <gadget><name>Dicom</name><dll>gadgetron_dicom</dll><classname>DicomFinishGadget</classname></gadget>
    </gadgetronStreamConfiguration>"""
    recipe = recipe_from_xml(xml, "here")
    assert recipe.steps[-1].use == "DicomOut"
    assert any("--dicom-folder" in note for note in recipe.notes)


def test_a_node_needs_a_folder_to_send_from() -> None:
    from typer.testing import CliRunner

    result = CliRunner().invoke(app, ["serve", "--dicom-node", "A@127.0.0.1:104"])
    assert isinstance(result.exception, InputError)
    assert "--dicom-folder" in str(result.exception)
