"""Sending to an archive: Orthanc keeps what we wrote; what goes wrong is said in words."""

import json
import socket
import subprocess
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from pipelines.dicom_node import Node, dicom_files, store
from pipelines.outputs import write_all
from recon_core.errors import InputError, SessionError
from tests.pipelines.dicom_images import FRAME, HEADER, STUDY, mrd_image, phantom
from tests.pipelines.dicom_tools import PYNETDICOM_LEAVES_SOCKETS, program


@dataclass(frozen=True)
class Archive:
    node: Node
    url: str

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}/{path}", timeout=10) as answer:
            body = answer.read()
        return body if path.endswith("file") else json.loads(body)

    def uids(self, level: str, tag: str) -> set[str]:
        return {self.get(f"{level}/{key}")["MainDicomTags"][tag] for key in self.get(level)}


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture(scope="module")
def orthanc(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    """A real archive on loopback, empty, which insists on its title and takes images of ours only."""
    folder = tmp_path_factory.mktemp("orthanc")
    http, dicom = free_port(), free_port()
    configuration = {
        "StorageDirectory": str(folder / "storage"),
        "HttpPort": http,
        "DicomPort": dicom,
        "DicomAet": "ORTHANC",
        "DicomCheckCalledAet": True,
        "DicomAlwaysAllowStore": False,
        "DicomModalities": {"us": ["RECONSTREAM", "127.0.0.1", 1]},
        "RemoteAccessAllowed": False,
        "AuthenticationEnabled": False,
        "Plugins": [],
    }
    (folder / "orthanc.json").write_text(json.dumps(configuration))
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            [program("Orthanc"), str(folder / "orthanc.json")], stdout=log, stderr=subprocess.STDOUT
        )
    archive = Archive(Node("ORTHANC", "127.0.0.1", dicom), f"http://127.0.0.1:{http}")
    try:
        for _ in range(200):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                archive.get("system")
                break
            except OSError:
                time.sleep(0.1)
        yield archive
    finally:
        process.terminate()
        process.wait(20)


@pytest.fixture
def files(tmp_path: Path) -> list[Path]:
    """Three slices with Unicode in the patient's name, and a phase image."""
    images = [
        mrd_image(phantom((1, 3, 6, 8))),
        mrd_image(np.full((6, 8), 1.5, np.float32), image_type=2, image_series_index=1),
    ]
    return dicom_files(write_all(images, tmp_path, "scan", HEADER, ["dicom"]))


def test_orthanc_keeps_every_object_as_it_was_written(orthanc: Archive, files: list[Path]) -> None:
    assert store(files, orthanc.node) == len(files) == 4
    datasets = {ds.SOPInstanceUID: ds for ds in map(pydicom.dcmread, files)}
    assert orthanc.uids("instances", "SOPInstanceUID") == set(datasets)
    assert orthanc.uids("studies", "StudyInstanceUID") == {STUDY}
    for key in orthanc.get("instances"):
        kept = pydicom.dcmread(pydicom.filebase.DicomBytesIO(orthanc.get(f"instances/{key}/file")))
        sent = datasets[kept.SOPInstanceUID]
        assert kept == sent
        assert (kept.PatientName, kept.FrameOfReferenceUID) == ("Müller^Änne", FRAME)


def test_sending_again_adds_nothing(orthanc: Archive, files: list[Path]) -> None:
    store(files, orthanc.node)
    before = orthanc.get("statistics")["CountInstances"]
    assert store(files, orthanc.node) == len(files)
    assert orthanc.get("statistics")["CountInstances"] == before


@pytest.mark.parametrize(
    ("node", "title", "reason"),
    [
        (lambda n: Node("SOMEONE", n.host, n.port), "RECONSTREAM", "expected an association, got"),
        (
            lambda n: n,
            "STRANGER",
            "an answer to .*0001.dcm, got the connection closed; it has 0 of 4",
        ),
        (lambda n: Node(n.title, n.host, free_port()), "RECONSTREAM", "Connection refused"),
        (lambda n: Node(n.title, "no-such-host.invalid", 104), "RECONSTREAM", "expected a connection, got: "),
    ],
    ids=["wrong title", "unknown caller", "nobody listens", "no such host"],
)
@pytest.mark.filterwarnings(PYNETDICOM_LEAVES_SOCKETS)
def test_a_refusal_says_who_and_why(
    orthanc: Archive, files: list[Path], node: Callable[[Node], Node], title: str, reason: str
) -> None:
    with pytest.raises(SessionError, match=reason):
        store(files, node(orthanc.node), calling_title=title, timeout_s=5)


@pytest.mark.filterwarnings(PYNETDICOM_LEAVES_SOCKETS)
def test_a_peer_that_says_nothing_is_given_up_after_the_timeout(files: list[Path]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        node = Node("SILENT", *listener.getsockname())
        began = time.monotonic()
        with pytest.raises(SessionError, match=r"expected an association, got none within 1 s"):
            store(files, node, timeout_s=1)
    assert time.monotonic() - began < 5


def test_an_archive_that_falls_silent_is_given_up_with_the_number_it_has(files: list[Path]) -> None:
    """Another implementation of the receiving side, which answers once and then sleeps."""
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import MRImageStorage

    woken, n_answered = threading.Event(), 0

    def answer(_event: Any) -> int:
        nonlocal n_answered
        if n_answered == 1:
            woken.wait(20)
        n_answered += 1
        return 0

    entity = AE("SLEEPY")
    entity.add_supported_context(MRImageStorage)
    server = entity.start_server(("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, answer)])
    try:
        with pytest.raises(SessionError, match=r"got none within 1 s; it has 1 of 4"):
            store(files, Node("SLEEPY", *server.server_address), timeout_s=1)
    finally:
        woken.set()
        server.shutdown()


def test_an_archive_without_room_refuses_in_its_own_words(files: list[Path]) -> None:
    from pynetdicom import AE, evt
    from pynetdicom.sop_class import MRImageStorage

    entity = AE("FULL")
    entity.add_supported_context(MRImageStorage)
    server = entity.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda _event: 0xA700)]
    )
    try:
        with pytest.raises(SessionError, match=r"refused 4, first .*0001\.dcm: status 0xA700 .*[Rr]esources"):
            store(files, Node("FULL", *server.server_address), timeout_s=5)
    finally:
        server.shutdown()


@pytest.mark.parametrize(
    "text",
    ["", "ORTHANC", "ORTHANC@host", "@host:104", "A@host:0", "A@host:70000", "A" * 17 + "@h:1", "Ü@h:1"],
)
def test_an_address_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="TITLE@HOST:PORT"):
        Node.parse(text)


def test_a_title_that_is_none_is_refused(files: list[Path]) -> None:
    with pytest.raises(InputError, match="--calling-title"):
        store(files, Node("PACS", "127.0.0.1", 104), calling_title="A" * 17)


def test_addresses() -> None:
    assert Node.parse("PACS@archive.example:104") == Node("PACS", "archive.example", 104)
    assert Node.parse("PACS@[::1]:104") == Node("PACS", "::1", 104)


def test_what_is_no_dicom_file_is_refused_before_anything_is_sent(tmp_path: Path, files: list[Path]) -> None:
    other = tmp_path / "notes.dcm"
    other.write_text("mine")
    with pytest.raises(InputError, match=r"notes\.dcm: expected a DICOM file"):
        store([*files, other], Node("NOBODY", "127.0.0.1", 1))
    for missing in (tmp_path / "missing.dcm", tmp_path / "empty"):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(InputError, match="got none"):
            dicom_files([missing])
