"""Which scan is of which study, by what headers say."""

from typing import Any

import ismrmrd
import pytest

from gadgets.study import ScanIdentity
from tests.gadgets.small_scan import context, encoding


def header(
    *, patient: str = "", study: str = "", number: str = "", measurement: str = "", frame: str = ""
) -> Any:
    parsed = context(encoding((8, 8, 1))).header
    schema = ismrmrd.xsd
    parsed.subjectInformation = schema.subjectInformationType(patientID=patient, patientName="Doe^Jane")
    parsed.studyInformation = schema.studyInformationType(studyInstanceUID=study, studyID=number)
    parsed.measurementInformation = schema.measurementInformationType(
        measurementID=measurement, frameOfReferenceUID=frame, patientPosition="HFS"
    )
    return parsed


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ({"study": "1.2"}, {"study": "1.2"}, True),
        ({"study": "1.2"}, {"study": "1.3"}, False),
        ({"study": "1.2", "patient": "a"}, {"study": "1.2", "patient": "b"}, False),
        ({"number": "1", "patient": "a"}, {"number": "1", "patient": "a"}, True),
        ({"number": "1", "patient": "a"}, {"number": "1", "patient": "b"}, False),
        ({"number": "1"}, {"number": "1"}, False),
        ({"measurement": "45387_10_20_343"}, {"measurement": "45387_10_20_349"}, True),
        ({"measurement": "45387_10_20_343"}, {"measurement": "45387_11_20_349"}, False),
        ({"measurement": "brain_t1_run_1"}, {"measurement": "brain_t1_run_2"}, False),
        ({}, {}, False),
    ],
)
def test_a_study_is_known_by_its_own_number_and_its_patient(
    one: dict[str, str], other: dict[str, str], is_same: bool
) -> None:
    studies = [ScanIdentity.of(header(**fields)).study for fields in (one, other)]
    assert (studies[0] == studies[1] != "") == is_same


def test_scans_of_a_study_without_identifiers_are_told_apart_by_their_headers() -> None:
    one, again, other = (
        ScanIdentity.of(header(study="1.2", frame=frame)).measurement for frame in ("1", "1", "2")
    )
    assert one == again != other
    assert ScanIdentity.of(header()).measurement == ""


def test_nothing_of_a_scan_tells_the_patients_name() -> None:
    assert "Doe" not in str(ScanIdentity.of(header(patient="p", study="s", measurement="m", frame="f")))
