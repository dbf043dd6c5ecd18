"""Which anatomy a scan is of, as model packages call it."""

from typing import Any

_OF_BODY_PART = {
    "head": "brain",
    "skull": "brain",
    "heart": "cardiac",
    "cardiac": "cardiac",
    "liver": "abdomen",
    "kidney": "abdomen",
    "pancreas": "abdomen",
    "spleen": "abdomen",
    "abdomenpelvis": "abdomen",
}
"""DICOM's words for (0018,0015) Body Part Examined where they are not our own; PS3.16, annex L."""


def anatomy_of(header: Any) -> str | None:
    """The anatomy that an MRD header states, None where it states none. Words not known here stay."""
    study = getattr(header, "studyInformation", None)
    body_part = (getattr(study, "bodyPartExamined", None) or "").strip().lower()
    return _OF_BODY_PART.get(body_part, body_part) or None
