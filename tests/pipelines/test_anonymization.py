"""Anonymised scans: nothing planted survives in any byte; what reconstructs is all there."""

import dataclasses
import re
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest
from ismrmrd import xsd

from gadgets.records import HEADER_DTYPE, Readouts
from pipelines import reconstruct
from pipelines.anonymization import KEPT_OF_COUNTERS, KEPT_OF_READOUTS, anonymize
from pipelines.anonymized_header import KEPT, anonymized_header
from pipelines.mrd_hdf5_writer import write_scan
from pipelines.mrd_header import header_from_xml
from pipelines.outputs import write_all
from pipelines.sources import Scan, open_scan
from recon_core.errors import InputError
from tests.pipelines.dicom_images import mrd_image, phantom
from tests.pipelines.short_scan import SCAN

PLANTED = "Zaphod-Beeblebrox"
"""In every text of the header, with a number that tells the fields apart."""
PLANTED_INT, PLANTED_FLOAT = 0x5EC2E7, 1956.0309
_NOTHING = type(None)


@pytest.fixture(autouse=True)
def own_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RECONSTREAM_PSEUDONYMS", str(tmp_path / "secret of this test"))


def filled(cls: type, texts: Iterator[str]) -> Any:
    """A record of the MRD schema with every field set, all texts planted, down to its leaves."""
    hints = typing.get_type_hints(cls)
    return cls(**{field.name: _leaf(hints[field.name], texts) for field in dataclasses.fields(cls)})


def _leaf(hint: Any, texts: Iterator[str]) -> Any:
    arguments = [one for one in typing.get_args(hint) if one is not _NOTHING]
    if typing.get_origin(hint) is list:
        return [_leaf(arguments[0], texts)]
    kind = arguments[0] if arguments else hint
    if kind.__name__ in ("XmlDate", "XmlTime"):
        return kind.from_string({"XmlDate": "1979-10-12", "XmlTime": "04:42:42"}[kind.__name__])
    if dataclasses.is_dataclass(kind):
        return filled(kind, texts)
    if issubclass(kind, Enum):
        return next(iter(kind))
    planted = {int: PLANTED_INT, float: PLANTED_FLOAT, bytes: PLANTED.encode()}
    return planted[kind] if kind in planted else next(texts)


def planted_header() -> Any:
    return filled(xsd.ismrmrdHeader, (f"{PLANTED}-{n}" for n in range(1000)))


def bits_of(value: float | int, dtype: str) -> bytes:
    return np.array([value], dtype).tobytes()


def planted_scan(path: Path, scan: Scan) -> Scan:
    """A real scan's file with identifiers wherever the format has room for them."""
    header = planted_header()
    header.encoding = header_from_xml(scan.header_xml).encoding
    blocks = []
    for block in scan.items():
        headers = block.headers.copy()
        headers["measurement_uid"] = PLANTED_INT
        headers["user_int"], headers["user_float"] = PLANTED_INT, PLANTED_FLOAT
        headers["idx"]["user"] = np.frombuffer(PLANTED[:16].encode(), "<u2")
        headers["channel_mask"] = np.frombuffer((PLANTED * 8)[:128].encode(), "<u8")
        headers["acquisition_time_stamp"] += 16_962_000  # at 04:42:42
        blocks.append(dataclasses.replace(block, headers=headers))
    wave = ismrmrd.Waveform.from_array(np.arange(8, dtype=np.uint32).reshape(1, 8))
    wave.measurement_uid, wave.time_stamp = PLANTED_INT, 16_962_000 + 7
    wave.waveform_id = 1
    planted = Scan(header.toXML().encode(), lambda: iter([*blocks, wave]))
    write_scan(planted, path)
    with h5py.File(path, "r+") as file:
        file.attrs["operator"] = PLANTED
        file["dataset"].attrs["patient"] = PLANTED
        file["dataset/protocol"] = PLANTED
        file["notes"] = np.frombuffer(PLANTED.encode("utf-16-le"), np.uint8)
    return planted


def contents(path: Path) -> bytes:
    """The bytes of the file, and of everything in it: strings of variable length lie scattered."""
    found = [path.read_bytes()]
    with h5py.File(path) as file:
        file.visit(lambda name: found.append(name.encode()))
        file.visititems(lambda _, item: found.extend(repr(pair).encode() for pair in item.attrs.items()))
        found.append(bytes(file["dataset/xml"][0]))
        for name in ("data", "waveforms"):
            if name in file["dataset"]:
                found += [row["head"].tobytes() for row in file["dataset"][name][:]]
    return b"\n".join(found)


SECRETS = {
    "text": PLANTED.encode(),
    "part of a text": b"Zaphod",
    "UTF-16": PLANTED.encode("utf-16-le"),
    "integer": bits_of(PLANTED_INT, "<i4"),
    "float": bits_of(PLANTED_FLOAT, "<f4"),
    "integer as text": str(PLANTED_INT).encode(),
    "date": b"1979-10-12",
    "date without dashes": b"19791012",
    "time": b"04:42:42",
    "time of day in milliseconds": bits_of(16_962_000, "<u4"),
}


@pytest.fixture
def planted(tmp_path: Path, simulated_file: Path) -> Path:
    path = tmp_path / "planted.h5"
    planted_scan(path, open_scan(simulated_file))
    return path


def test_the_planted_identifiers_are_there_to_be_found(planted: Path) -> None:
    """Or the next test would find nothing for the wrong reason."""
    found = {name for name, secret in SECRETS.items() if secret in contents(planted)}
    assert set(SECRETS) - found == {"date without dashes"}


# Numbers that say how the scan was made stay, also where the test planted one.
@pytest.mark.parametrize("secret", [name for name in SECRETS if name not in ("integer as text",)])
def test_no_planted_identifier_survives_in_any_byte(planted: Path, tmp_path: Path, secret: str) -> None:
    anonymize(planted, tmp_path / "anonymous.h5")
    assert SECRETS[secret] not in contents(tmp_path / "anonymous.h5")


def test_every_text_of_the_header_goes_or_is_a_word_of_a_list(planted: Path, tmp_path: Path) -> None:
    """Whatever the schema has room for: texts are what no rule may let through by accident."""
    anonymize(planted, tmp_path / "anonymous.h5")
    xml = open_scan(tmp_path / "anonymous.h5").header_xml.decode()
    assert PLANTED.lower() not in xml.lower()
    for number in ("accessionNumber", "patientWeight", "patientHeight", "initialSeriesNumber", "user_0"):
        assert number not in xml
    header = header_from_xml(xml.encode())
    assert header.waveformInformation[0].waveformName == header.waveformInformation[0].waveformType.value
    assert header.acquisitionSystemInformation.coilLabel[0].coilName == f"coil {PLANTED_INT}"
    assert not header.userParameters.userParameterLong  # their names are not known


def test_the_list_of_what_is_kept_names_fields_of_the_schema() -> None:
    for name, fields in KEPT.items():
        known = {field.name for field in dataclasses.fields(getattr(xsd, name, None) or _schema(name))}
        assert set(fields.split()) <= known, name


def _schema(name: str) -> Any:
    from ismrmrd.xsd.ismrmrdschema import ismrmrd as schema

    return getattr(schema, name)


def test_what_a_reconstruction_needs_of_the_header_stays() -> None:
    header = planted_header()
    header.sequenceParameters.sequence_type = "Flash"
    header.acquisitionSystemInformation.systemVendor = "SIEMENS Healthineers"
    header.studyInformation.bodyPartExamined = "knee"
    header.measurementInformation.measurementDependency[0].dependencyType = "Noise"
    header.encoding[0].trajectoryDescription.userParameterLong[0].name = "interleaves"
    kept = anonymized_header(header, lambda field, value: f"{abs(hash((field, value))):032x}"[:32])
    assert kept.encoding[0].encodedSpace == header.encoding[0].encodedSpace
    assert kept.encoding[0].encodingLimits.slice == header.encoding[0].encodingLimits.slice
    assert kept.encoding[0].parallelImaging == header.encoding[0].parallelImaging
    assert kept.encoding[0].trajectoryDescription.userParameterLong[0].value == PLANTED_INT
    assert kept.sequenceParameters.TR == header.sequenceParameters.TR
    assert kept.sequenceParameters.diffusion == header.sequenceParameters.diffusion
    assert kept.sequenceParameters.sequence_type == "flash"
    assert kept.acquisitionSystemInformation.systemVendor == "siemens"
    assert kept.studyInformation.bodyPartExamined == "KNEE"
    assert kept.measurementInformation.measurementDependency[0].dependencyType == "noise"
    assert kept.measurementInformation.patientPosition == header.measurementInformation.patientPosition
    assert kept.experimentalConditions == header.experimentalConditions


def test_an_anonymous_scan_reconstructs_to_the_same_images(planted: Path, tmp_path: Path) -> None:
    anonymize(planted, tmp_path / "anonymous.h5")
    before, after = reconstruct(planted), reconstruct(tmp_path / "anonymous.h5")
    assert [a.data.tobytes() for a in after] == [b.data.tobytes() for b in before]
    assert [list(a.position) for a in after] == [list(b.position) for b in before]


def test_waveforms_stay_and_times_count_from_the_first_readout(planted: Path, tmp_path: Path) -> None:
    anonymize(planted, tmp_path / "anonymous.h5")
    items = list(open_scan(tmp_path / "anonymous.h5").items())
    (wave,) = (item for item in items if isinstance(item, ismrmrd.Waveform))
    assert wave.data.tolist() == [list(range(8))]
    assert (wave.time_stamp, wave.waveform_id) == (7, 1)
    originals = [item for item in open_scan(planted).items() if isinstance(item, Readouts)]
    stamps = np.concatenate([r.headers["acquisition_time_stamp"] for r in items if isinstance(r, Readouts)])
    expected = np.concatenate([r.headers["acquisition_time_stamp"] for r in originals])
    assert np.array_equal(stamps, expected - expected[0])


def scan_of(study: str, measurement: str, dependency: str = "") -> bytes:
    depends = (
        f"<measurementDependency><dependencyType>Noise</dependencyType><measurementID>{dependency}"
        "</measurementID></measurementDependency>"
    )
    return (
        f"<ismrmrdHeader><subjectInformation><patientID>P-{study}</patientID></subjectInformation>"
        f"<studyInformation><studyInstanceUID>1.2.{study}</studyInstanceUID></studyInformation>"
        f"<measurementInformation><measurementID>{measurement}</measurementID>"
        f"<patientPosition>HFS</patientPosition>{depends if dependency else ''}"
        f"<frameOfReferenceUID>1.2.{study}.9</frameOfReferenceUID></measurementInformation></ismrmrdHeader>"
    ).encode()


def test_scans_of_a_study_stay_together_and_apart_from_others(tmp_path: Path, simulated_file: Path) -> None:
    rest = open_scan(simulated_file).header_xml.decode()
    encoding = re.search(r"<experimentalConditions>.*", rest, re.S)
    assert encoding is not None
    headers = {}
    for name, xml in {
        "noise": scan_of("5", "M-1"),
        "image": scan_of("5", "M-2", dependency="M-1"),
        "other": scan_of("6", "M-3"),
    }.items():
        whole = xml.decode().replace("</ismrmrdHeader>", encoding[0]).encode()
        source = Scan(whole, open_scan(simulated_file).items)
        write_scan(source, tmp_path / f"{name}.h5")
        anonymize(tmp_path / f"{name}.h5", tmp_path / f"{name}_anonymous.h5")
        headers[name] = header_from_xml(open_scan(tmp_path / f"{name}_anonymous.h5").header_xml)
    noise, image, other = headers["noise"], headers["image"], headers["other"]
    assert noise.studyInformation == image.studyInformation != other.studyInformation
    assert noise.subjectInformation == image.subjectInformation != other.subjectInformation
    frames = [h.measurementInformation.frameOfReferenceUID for h in (noise, image, other)]
    assert frames[0] == frames[1] != frames[2]
    (dependency,) = image.measurementInformation.measurementDependency
    assert dependency.measurementID == noise.measurementInformation.measurementID
    assert re.fullmatch(r"2\.25\.\d{1,39}", noise.studyInformation.studyInstanceUID)


def test_another_secret_gives_other_pseudonyms(
    planted: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    headers = []
    for secret in ("a", "b", "a"):
        monkeypatch.setenv("RECONSTREAM_PSEUDONYMS", str(tmp_path / secret))
        anonymize(planted, tmp_path / "anonymous.h5")
        headers.append(open_scan(tmp_path / "anonymous.h5").header_xml)
    assert headers[0] == headers[2] != headers[1]
    assert (tmp_path / "a" / "secret").stat().st_mode & 0o077 == 0


def test_a_journal_loses_its_messages_too(tmp_path: Path) -> None:
    journal = tmp_path / "journal.mrd"
    text = f'{{"parameters": {{}}, "patient": "{PLANTED}"}}'.encode()
    message = b"\x05\x00" + len(text).to_bytes(4, "little") + text
    journal.write_bytes(SCAN[0] + message + b"".join(SCAN[1:]))
    anonymize(journal, tmp_path / "anonymous.h5")
    assert PLANTED.encode() not in contents(tmp_path / "anonymous.h5")
    before, after = (
        [r.data for r in open_scan(path).items() if isinstance(r, Readouts)]
        for path in (journal, tmp_path / "anonymous.h5")
    )
    assert np.array_equal(np.concatenate(before), np.concatenate(after))


def test_images_and_nothing_are_refused(tmp_path: Path, simulated_file: Path) -> None:
    (images,) = write_all([mrd_image(phantom())], tmp_path, "images", open_scan(simulated_file).header_xml)
    with pytest.raises(InputError, match="expected raw data, got images"):
        anonymize(images, tmp_path / "anonymous.h5")
    with pytest.raises(InputError, match="another file than the source"):
        anonymize(simulated_file, simulated_file)
    assert not (tmp_path / "anonymous.h5").exists()


def test_headers_have_no_field_that_nobody_decided_on() -> None:
    """One that MRD adds is left out until someone lists it; these are left out on purpose."""
    left_out = set(HEADER_DTYPE.names or ()) - set(KEPT_OF_READOUTS)
    timed = {"acquisition_time_stamp", "idx"}
    assert left_out - timed == {"measurement_uid", "channel_mask", "user_int", "user_float"}
    assert set(HEADER_DTYPE["idx"].names or ()) - set(KEPT_OF_COUNTERS) == {"user"}
