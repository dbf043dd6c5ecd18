"""The header parser: equal to the reference on valid headers, lenient to old ones, strict on hostile ones."""

import contextlib
from pathlib import Path

import h5py
import ismrmrd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipelines.mrd_header import MAX_HEADER_BYTES, header_from_xml
from recon_core.errors import StreamError

SPACE = (
    "<matrixSize><x>8</x><y>6</y><z>1</z></matrixSize>"
    "<fieldOfView_mm><x>200</x><y>150.5</y><z>5</z></fieldOfView_mm>"
)
ENCODING = (
    f"<encoding><encodedSpace>{SPACE}</encodedSpace><reconSpace>{SPACE}</reconSpace>"
    "<encodingLimits/><trajectory>cartesian</trajectory></encoding>"
)


def document(body: str = ENCODING, declaration: str = '<?xml version="1.0"?>') -> bytes:
    xml = f'{declaration}<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">{body}</ismrmrdHeader>'
    return xml.encode()


def test_equal_to_the_reference_parser_on_real_headers(shared_data: Path) -> None:
    files = sorted((shared_data / "raw").glob("*.h5"))
    assert files
    for path in files:
        with h5py.File(path, "r", locking=False) as file:
            xml = file["dataset/xml"][0]
        assert header_from_xml(xml) == ismrmrd.xsd.CreateFromDocument(xml), path.name


def test_equal_to_the_reference_parser_on_every_kind_of_value() -> None:
    xml = document(
        "<subjectInformation><patientName>A^B</patientName><patientWeight_kg>70.5</patientWeight_kg>"
        "<patientBirthdate>1970-02-03</patientBirthdate></subjectInformation>"
        "<studyInformation><studyTime>12:34:56.25</studyTime></studyInformation>"
        "<measurementInformation><patientPosition>HFS</patientPosition></measurementInformation>"
        "<experimentalConditions><H1resonanceFrequency_Hz>63500000</H1resonanceFrequency_Hz>"
        f"</experimentalConditions>{ENCODING}{ENCODING}"
        "<sequenceParameters><TE>1.5</TE><TE>3</TE></sequenceParameters>"
        "<userParameters><userParameterBase64><name>b</name><value>aGVsbG8=</value></userParameterBase64>"
        "</userParameters>"
    )
    header = header_from_xml(xml)
    assert header == ismrmrd.xsd.CreateFromDocument(xml)
    assert header.userParameters.userParameterBase64[0].value == b"hello"


def test_trailing_nul_bom_and_missing_namespace_change_nothing() -> None:
    header = header_from_xml(document())
    bare = document().replace(b' xmlns="http://www.ismrm.org/ISMRMRD"', b"")
    for variant in (document() + b"\0", document() + b"\0\0\n", b"\xef\xbb\xbf" + document(), bare):
        assert header_from_xml(variant) == header


def test_unknown_missing_and_unreadable_extras_cost_nothing() -> None:
    header = header_from_xml(
        document(
            "<fromTheFuture><x>1</x></fromTheFuture>"
            "<subjectInformation><patientWeight_kg>heavy</patientWeight_kg></subjectInformation>"
            "<measurementInformation><patientPosition>upside down</patientPosition></measurementInformation>"
            + ENCODING.replace("<trajectory>cartesian</trajectory>", "").replace("<encodingLimits/>", "")
        )
    )
    assert header.subjectInformation.patientWeight_kg is None
    assert header.measurementInformation.patientPosition is None
    assert header.experimentalConditions is None
    assert header.encoding[0].trajectory is None
    assert header.encoding[0].encodingLimits is None
    assert header.encoding[0].encodedSpace.fieldOfView_mm.y == 150.5


def test_whole_numbers_written_with_decimals_are_read() -> None:
    header = header_from_xml(document(ENCODING.replace("<x>8</x>", "<x>8.000</x>")))
    assert header.encoding[0].encodedSpace.matrixSize.x == 8


@pytest.mark.parametrize(
    ("xml", "says"),
    [
        (b"", "got nothing"),
        (b"\0\0", "got nothing"),
        (b"<ismrmrdHeader>", "well-formed"),
        (b"not xml", "well-formed"),
        (b"<html></html>", "<html>"),
        (b"\xff\xfe<\0a\0", "UTF-8"),
        (document().replace(b"cartesian", b"cart\xe9sian"), "0xe9"),
        (document("<!-- x -->" * 2**20), "at most"),
        (b"<!DOCTYPE a []>" + document(declaration=""), "document type"),
        (document(declaration="<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]>"), "document type"),
        ("".join(f"{c}\0" for c in "<!DOCTYPE a []><ismrmrdHeader/>").encode(), "well-formed"),
        (document(ENCODING.replace("cartesian", "zigzag")), "encoding/trajectory"),
        (document(ENCODING.replace("<x>8</x>", "<x>eight</x>", 1)), "encodedSpace/matrixSize/x"),
        (document(ENCODING.replace("<x>200</x>", "<x>nan</x>", 1)), "fieldOfView_mm/x"),
        (document(ENCODING.replace("<x>200</x>", "", 1)), "fieldOfView_mm/x"),
        (document(f"<encoding><encodedSpace>{SPACE}</encodedSpace></encoding>"), "encoding/reconSpace"),
    ],
)
def test_what_cannot_be_used_is_refused_with_the_reason(xml: bytes, says: str) -> None:
    with pytest.raises(StreamError, match=says):
        header_from_xml(xml)


def test_a_declared_encoding_cannot_hide_a_document_type() -> None:
    hidden = b'<?xml version="1.0" encoding="cp037"?>' + "<!DOCTYPE a []><b/>".encode("cp037")
    with pytest.raises(StreamError):
        header_from_xml(hidden)
    assert MAX_HEADER_BYTES > 2**20


@given(st.binary(max_size=200), st.integers(0, 300))
def test_any_damage_is_a_stream_error_or_harmless(damage: bytes, at: int) -> None:
    xml = document()
    with contextlib.suppress(StreamError):
        header_from_xml(xml[:at] + damage + xml[at + len(damage) :])
