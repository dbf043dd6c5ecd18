"""What DICOM objects inherit from the MRD header: patient, study, series, equipment, sequence."""

import re
from collections.abc import Iterator
from typing import Any

from pipelines.body_parts import UNPAIRED
from pipelines.outputs.dicom_uid import uid_of, valid_uid

_SCANNING_SEQUENCES = {
    "SE": ("spinecho", "se", "tse", "fse", "turbospinecho", "fastspinecho"),
    "GR": ("gradientecho", "gre", "flash", "fastgre", "spgr", "trufisp", "bssfp", "ssfp"),
    "EP": ("epi", "echoplanar"),
}
"""DICOM's words for what MRD's free text sequence_type may say; anything else is research mode, RM."""
_INVERSION = ("inversionrecovery", "ir", "flair", "stir", "mprage", "mp2rage", "molli")

_PART = 64
_SHORT = 16
_MAX_SERIES = 9999


def text(value: Any, length: int = _PART) -> str:
    """A value as a single DICOM string: no backslash, which separates values, no control characters."""
    cleaned = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", "" if value is None else str(value)).replace("\\", "/")
    return cleaned.strip()[:length].strip()


def person(value: Any) -> str:
    """A person's name: at most five components between carets, in one script."""
    return text("^".join(text(value).replace("=", " ").split("^")[:5]))


def code(value: Any) -> str:
    """A value as DICOM's code string: capitals, digits, blanks and underscores, 16 at most."""
    return re.sub(r"[^A-Z0-9 ]", "_", str(value or "").upper())[:_SHORT].strip()


def study_uid(header: Any, scan_id: str) -> str:
    """The header's study, else one shared by scans of one frame of reference and study time, else the scan's.

    Without a word of either, two patients' scans have equal headers: they must not become one study.
    """
    study, measurement = _part(header, "studyInformation"), _part(header, "measurementInformation")
    if stated := valid_uid(study("studyInstanceUID")):
        return stated
    if frame := valid_uid(measurement("frameOfReferenceUID")):
        patient = _part(header, "subjectInformation")("patientID")
        return uid_of("study", frame, _date(study("studyDate")), _time(study("studyTime")), patient or "")
    return uid_of("study", scan_id)


def frame_of_reference_uid(header: Any, scan_id: str) -> str:
    """The header's frame of reference, else one of this scan alone."""
    stated = valid_uid(_part(header, "measurementInformation")("frameOfReferenceUID"))
    return stated or uid_of("frame of reference", scan_id)


def series_description(header: Any) -> str:
    """What the scanner called the series."""
    measurement = _part(header, "measurementInformation")
    return text(measurement("seriesDescription") or measurement("protocolName"))


def first_series_number(header: Any) -> int:
    """As Gadgetron numbers them: series 7 of the scanner becomes 700, 701, … here."""
    number = int(_part(header, "measurementInformation")("initialSeriesNumber") or 0)
    return 100 * number if 0 <= number <= _MAX_SERIES else 0


def attributes_of(header: Any) -> Iterator[tuple[str, Any]]:
    """DICOM keywords and values of patient, study, series and equipment.

    What DICOM wants to be there even if unknown (type 2) is empty then.
    """
    subject = _part(header, "subjectInformation")
    yield "PatientName", person(subject("patientName"))
    yield "PatientID", text(subject("patientID"))
    yield "PatientBirthDate", _date(subject("patientBirthdate"))
    sex = (subject("patientGender") or "").strip().upper()
    yield "PatientSex", sex if sex in {"M", "F", "O"} else ""
    yield from _given("PatientWeight", subject("patientWeight_kg"))
    yield from _given("PatientSize", subject("patientHeight_m"))

    study = _part(header, "studyInformation")
    yield "StudyDate", _date(study("studyDate"))
    yield "StudyTime", _time(study("studyTime"))
    yield "StudyID", text(study("studyID"), _SHORT)
    yield "AccessionNumber", text(study("accessionNumber"), _SHORT)
    yield "ReferringPhysicianName", person(study("referringPhysicianName"))
    yield from _given("StudyDescription", text(study("studyDescription")))
    yield from _given("BodyPartExamined", code(study("bodyPartExamined")))
    if code(study("bodyPartExamined")) not in UNPAIRED:
        yield "Laterality", ""  # unknown: MRD has no word for left and right

    measurement = _part(header, "measurementInformation")
    position = measurement("patientPosition")
    yield "PatientPosition", getattr(position, "value", "")
    yield from _given("SeriesDate", _date(measurement("seriesDate")))
    yield from _given("SeriesTime", _time(measurement("seriesTime")))
    yield from _given("ProtocolName", text(measurement("protocolName")))
    yield from _given("SequenceName", text(measurement("sequenceName"), _SHORT))

    system = _part(header, "acquisitionSystemInformation")
    yield "Manufacturer", text(system("systemVendor"))
    yield from _given("ManufacturerModelName", text(system("systemModel")))
    yield from _given("InstitutionName", text(system("institutionName")))
    yield from _given("StationName", text(system("stationName"), _SHORT))
    yield from _given("DeviceSerialNumber", text(system("deviceSerialNumber")))
    yield from _given("MagneticFieldStrength", system("systemFieldStrength_T"))
    resonance_hz = _part(header, "experimentalConditions")("H1resonanceFrequency_Hz")
    yield from _given("ImagingFrequency", resonance_hz and resonance_hz / 1e6)


def timing_of(header: Any, contrast: int, inversion_time_ms: float | None) -> Iterator[tuple[str, Any]]:
    """The sequence and its times, those of echo number `contrast` where there are several.

    An inversion time, if not given, is the header's only where it has several or its sequence is known for
    one: converters state one for every sequence. DICOM forbids it where there is no inversion.
    """
    sequence = _part(header, "sequenceParameters")
    kind = re.sub(r"[^a-z0-9]", "", (sequence("sequence_type") or "").lower())
    stated = sequence("TI") or []
    if inversion_time_ms is None and (len(stated) > 1 or kind in _INVERSION):
        inversion_time_ms = _of_contrast(stated, contrast)
    scanning = next((name for name, words in _SCANNING_SEQUENCES.items() if kind in words), "RM")
    yield "ScanningSequence", [scanning, "IR"] if inversion_time_ms is not None else scanning
    yield "SequenceVariant", "NONE"
    yield "ScanOptions", ""
    encodings = getattr(header, "encoding", None) or [None]
    yield "EchoTrainLength", getattr(encodings[0], "echoTrainLength", None)
    yield "EchoNumbers", contrast + 1
    yield "RepetitionTime", _of_contrast(sequence("TR"), 0)
    yield "EchoTime", _of_contrast(sequence("TE"), contrast)
    yield from _given("InversionTime", inversion_time_ms)
    yield from _given("FlipAngle", _of_contrast(sequence("flipAngle_deg"), 0))


def _part(header: Any, name: str) -> Any:
    """``part("field")`` of a part of the header; None where either is missing."""
    part = getattr(header, name, None)
    return lambda field: getattr(part, field, None)


def _given(keyword: str, value: Any) -> Iterator[tuple[str, Any]]:
    if value not in (None, ""):
        yield keyword, value


def _of_contrast(values: list[float] | None, contrast: int) -> float | None:
    """One value serves all contrasts; of several, each has its own."""
    if not values:
        return None
    return values[contrast] if contrast < len(values) else values[0] if len(values) == 1 else None


def _date(date: Any) -> str:
    return f"{date.year:04d}{date.month:02d}{date.day:02d}" if date else ""


def _time(time: Any) -> str:
    return f"{time.hour:02d}{time.minute:02d}{time.second:02d}" if time else ""
