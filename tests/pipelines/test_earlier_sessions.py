"""What a session finds of earlier ones, also when the server has been started anew between them."""

import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import torch
from typer.testing import CliRunner

from gadgets.gadget import Context
from gadgets.guides import guides
from gadgets.mrd_images import NOTE
from gadgets.records import Readouts
from pipelines.cli import app
from pipelines.mrd_header import header_from_xml
from pipelines.recipe import recipe_by_name
from pipelines.reconstruction import reconstruct_scan
from pipelines.server import Server
from pipelines.sources import open_scan
from pipelines.studies.folder import StudyFolder
from tests.pipelines import wire
from tests.pipelines.serving import footprint, wait_for
from tests.pipelines.wire import CLOSE, RawClient

NOISE = (np.random.default_rng(1).standard_normal((wire.N_COILS, 1024)) * [[1], [3]]).astype(np.complex64)
NOISE_SCAN = wire.acquisition(NOISE, flags=1 << 18, sample_time_us=5)


@contextmanager
def server_on(folder: Path) -> Iterator[Server]:
    """A server, and what it leaves on disk; the next one knows no more than that."""
    before = footprint()
    with StudyFolder(folder) as studies, Server(port=0, studies=studies) as server:
        yield server
    wait_for(before)


def header(measurement: str, noise: str = "", patient: str = "", study: str = "") -> bytes:
    dependency = (
        "<measurementDependency><dependencyType>Noise</dependencyType>"
        f"<measurementID>{noise}</measurementID></measurementDependency>"
    )
    return wire.header_xml(
        extra=f"<subjectInformation><patientID>{patient}</patientID></subjectInformation>"
        f"<studyInformation><studyInstanceUID>{study}</studyInstanceUID></studyInformation>"
        f"<measurementInformation><measurementID>{measurement}</measurementID>"
        f"<protocolName>t1_se</protocolName>{dependency if noise else ''}</measurementInformation>"
    )


def session(server: Server, header_xml: bytes, *data: bytes, recipe: str = "cartesian_fft") -> list[Any]:
    with RawClient(server.address) as client:
        client.send(wire.config_file(recipe), wire.prefixed(3, header_xml), *data, CLOSE)
        return client.messages()


def asked(server: Server, configuration: bytes) -> dict[str, str]:
    """The attributes that answer a configuration and CLOSE, read as Gadgetron's client reads them."""
    with RawClient(server.address) as client:
        client.send(configuration, CLOSE)
        received = bytearray()
        while piece := client.socket.recv(1 << 16):
            received += piece
    number, length = struct.unpack_from("<HQ", received)
    assert number == 1019
    assert received[10 + length :] == CLOSE
    return dict(ismrmrd.Meta.deserialize(received[10 : 10 + length].decode()))


def question(measurement: str) -> bytes:
    """What `gadgetron_ismrmrd_client` asks before it sends a scan that depends on this one."""
    return wire.prefixed(
        2,
        '<?xml version="1.0" encoding="UTF-8"?>\n<gadgetronStreamConfiguration '
        'xsi:schemaLocation="http://gadgetron.sf.net/gadgetron gadgetron.xsd" '
        'xmlns="http://gadgetron.sf.net/gadgetron" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        "<writer><slot>1019</slot><dll>gadgetron_mricore</dll><classname>DependencyQueryWriter</classname>"
        "</writer><gadget><name>NoiseSummary</name><dll>gadgetron_mricore</dll>"
        "<classname>NoiseSummaryGadget</classname><property><name>noise_file</name>"
        f"<value>GadgetronNoiseCovarianceMatrix_{measurement}</value></property></gadget>"
        "</gadgetronStreamConfiguration>",
    )


def test_a_noise_scan_whitens_the_scan_that_names_it_after_a_restart(tmp_path: Path) -> None:
    with server_on(tmp_path) as server:
        (whitened,) = session(server, header("own"), NOISE_SCAN, *wire.lines(0))
        noise_scan = header("45387_1_2_343")
        assert session(server, noise_scan, NOISE_SCAN, recipe="default_measurement_dependencies.xml") == []
    with server_on(tmp_path) as server:
        for named in ("45387_1_2_343", "343"):  # older converters leave out what both have in common
            (image,) = session(server, header("45387_1_2_349", named), *wire.lines(0))
            assert image.data.tobytes() == whitened.data.tobytes()
            assert NOTE not in image.meta
        (image,) = session(server, header("45387_1_2_349", "45387_1_2_344"), *wire.lines(0))
        assert image.meta[NOTE] == "not noise-whitened: the noise scan that the header names is not known"


def test_a_client_that_asks_about_a_noise_scan_hears_how_much_it_is(tmp_path: Path) -> None:
    with server_on(tmp_path) as server:
        assert asked(server, question("noise")) == {"status": "failed"}
        session(server, header("noise"), NOISE_SCAN, recipe="default_measurement_dependencies")
    with server_on(tmp_path) as server:
        answer = asked(server, question("noise"))
        std = np.sqrt((np.abs(NOISE) ** 2).mean(1))
        assert answer["status"] == "success"
        assert int(answer["channels"]) == wire.N_COILS
        assert float(answer["noise_dwell_time_us"]) == 5
        figures = [float(answer[f"{name}_sigma"]) for name in ("min", "mean", "max")]
        np.testing.assert_allclose(figures, [std.min(), std.mean(), std.max()], rtol=1e-5)
        assert asked(server, wire.config_file("gtquery.xml")) == {"NoiseDependencies": "Dummy"}


def test_finished_images_are_the_guides_of_the_next_scans_of_the_patients_study(tmp_path: Path) -> None:
    first = header("first", patient="p", study="1.2.3")
    with server_on(tmp_path) as server:
        (image,) = session(server, first, *wire.lines(0))
        assert image.meta["Reconstream.Acceleration"] == "1"
        session(server, header("second", patient="p", study="1.2.3"), *wire.lines(1)[::2])  # zero-filled
    with StudyFolder(tmp_path) as studies:
        later = header("third", patient="p", study="1.2.3")
        (guide,) = guides(Context(header=header_from_xml(later), study=studies))
        found = guide.load()
        assert found is not None
        assert torch.equal(found, torch.from_numpy(image.data[0]))
        assert guide.contrast.protocol == "t1_se"
        assert guide.geometry.fov_mm == (200, 200, 5)
        assert guide.acceleration == 1
        for other in (header("x", patient="q", study="1.2.3"), header("x", patient="p", study="1"), first):
            assert guides(Context(header=header_from_xml(other), study=studies)) == []


def test_replaying_the_journals_in_order_gives_what_was_sent(tmp_path: Path) -> None:
    with Server(port=0, journal=tmp_path / "journals") as server:
        session(server, header("noise"), NOISE_SCAN, recipe="default_measurement_dependencies")
        (sent,) = session(server, header("scan", noise="noise"), *wire.lines(0))
    journals = sorted(map(str, (tmp_path / "journals").iterdir()))
    result = CliRunner().invoke(app, ["replay", *journals, "--out", str(tmp_path / "out"), "--format", "npy"])
    assert result.exit_code == 0, result.output
    (path,) = (tmp_path / "out").glob("*.npy")
    np.testing.assert_array_equal(np.load(path).squeeze(), sent.data.squeeze())


def test_a_real_scan_is_whitened_by_its_noise_sent_apart_as_by_its_own(
    shared_data: Path, tmp_path: Path
) -> None:
    scan = open_scan(shared_data / "raw" / "siemens_phantom_14ch_grappa3_noise.h5")
    readouts = [item for item in scan.items() if isinstance(item, Readouts)]
    is_noise = [block.flagged("IS_NOISE_MEASUREMENT") for block in readouts]
    noise = [block.select(which) for block, which in zip(readouts, is_noise, strict=True) if which.any()]
    imaging = [
        block.select(~which) for block, which in zip(readouts, is_noise, strict=True) if not which.all()
    ]
    recipe = recipe_by_name("cartesian_grappa")
    (whole,) = reconstruct_scan(recipe, scan.header_xml, readouts)
    adjustment = scan.header_xml.replace(b"45387_1079885_1079904_349", b"45387_1079885_1079904_343", 1)
    with StudyFolder(tmp_path) as studies:
        sent = reconstruct_scan(
            recipe_by_name("default_measurement_dependencies"), adjustment, noise, study=studies
        )
        assert list(sent) == []
    with StudyFolder(tmp_path) as studies:
        (apart,) = reconstruct_scan(recipe, scan.header_xml, imaging, study=studies)
    np.testing.assert_array_equal(apart.data, whole.data)
    (bare,) = reconstruct_scan(recipe, scan.header_xml, imaging)
    assert not np.array_equal(bare.data, whole.data)
