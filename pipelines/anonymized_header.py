"""The MRD header without what tells who was examined, where and when. What is kept is listed."""

import dataclasses
import re
from collections.abc import Callable, Iterable
from enum import Enum
from typing import Any
from uuid import UUID

from gadgets.header_trajectory import SPIRAL_PARAMETERS
from pipelines.body_parts import PAIRED, UNPAIRED

Pseudonym = Callable[[str, str], str]
"""``pseudonym(field, value)``: 32 hexadecimal digits, always the same for the same field and value."""

KEPT: dict[str, str] = {
    "ismrmrdHeader": "version subjectInformation studyInformation measurementInformation "
    "acquisitionSystemInformation experimentalConditions encoding sequenceParameters userParameters "
    "waveformInformation",
    "subjectInformationType": "patientID",
    "studyInformationType": "studyInstanceUID bodyPartExamined",
    "measurementInformationType": "measurementID patientPosition relativeTablePosition measurementDependency "
    "seriesInstanceUIDRoot frameOfReferenceUID",
    "measurementDependencyType": "dependencyType measurementID",
    "threeDimensionalFloat": "x y z",
    "acquisitionSystemInformationType": "systemVendor systemFieldStrength_T relativeReceiverNoiseBandwidth "
    "receiverChannels coilLabel",
    "coilLabelType": "coilNumber coilName",
    "experimentalConditionsType": "H1resonanceFrequency_Hz",
    "encodingType": "encodedSpace reconSpace encodingLimits trajectory trajectoryDescription parallelImaging "
    "echoTrainLength",
    "encodingSpaceType": "matrixSize fieldOfView_mm",
    "matrixSizeType": "x y z",
    "fieldOfViewMm": "x y z",
    "encodingLimitsType": "kspace_encoding_step_0 kspace_encoding_step_1 kspace_encoding_step_2 average "
    "slice contrast phase repetition set segment",
    "limitType": "minimum maximum center",
    "trajectoryDescriptionType": "identifier userParameterLong userParameterDouble",
    "parallelImagingType": "accelerationFactor calibrationMode interleavingDimension multiband",
    "accelerationFactorType": "kspace_encoding_step_1 kspace_encoding_step_2",
    "multibandType": "spacing deltaKz multiband_factor calibration calibration_encoding",
    "multibandSpacingType": "dZ",
    "sequenceParametersType": "TR TE TI flipAngle_deg sequence_type echo_spacing diffusionDimension "
    "diffusion",
    "diffusionType": "gradientDirection bvalue",
    "gradientDirectionType": "rl ap fh",
    "userParametersType": "userParameterLong userParameterDouble",
    "userParameterLongType": "name value",
    "userParameterDoubleType": "name value",
    "waveformInformationType": "waveformName waveformType userParameters",
}
"""Of each type of the MRD schema, the fields that are kept, if `_TEXTS` allows their text."""

_VENDORS = "siemens ge philips canon toshiba hitachi fujifilm bruker uih hyperfine"
_SEQUENCES = (
    "flash gre fastgre gradientecho spgr ssfp bssfp trufisp se spinecho tse fse turbospinecho fastspinecho "
    "epi echoplanar ir inversionrecovery flair stir mprage mp2rage molli"
)
_DEPENDENCIES = "noise senmap"
_TRAJECTORIES = "HargreavesVDS2000 ConventionalEPI"
NUMBERS = (
    *SPIRAL_PARAMETERS,
    *("fov_coefficients", *(f"FOVCoeff_{n}_cm" for n in range(1, 10))),
    *("angle_deg", "angle_step_deg", "first_angle_deg", "navigator_every"),
    *("pulses_per_inversion", "inversion_delay_ms"),
    *("etl", "numberOfNavigators", "rampUpTime", "rampDownTime", "flatTopTime", "echoSpacing"),
    *("acqDelayTime", "numSamples", "dwellTime"),
)
"""The user parameters that are kept: numbers that reconstructions need, known by these names."""


def anonymized_header(header: Any, pseudonym: Pseudonym) -> Any:
    """The header (`ismrmrd.xsd.ismrmrdHeader`) with what `KEPT` lists.

    Of numbers and of words that the schema defines these survive as they are. Text survives only where it is
    one of a few words known here; identifiers become pseudonyms, equal ones equal pseudonyms, so that scans
    of a study and their dependencies still belong together.
    """
    return _kept(header, pseudonym)


def _kept(record: Any, pseudonym: Pseudonym) -> Any:
    names = KEPT[type(record).__name__].split()
    values: dict[str, Any] = {}
    for field in dataclasses.fields(record):
        value = getattr(record, field.name)
        if field.name in names:
            values[field.name] = _value(record, field.name, value, pseudonym)
        else:
            values[field.name] = [] if isinstance(value, list) else None
    return type(record)(**values)


def _value(record: Any, name: str, value: Any, pseudonym: Pseudonym) -> Any:
    if isinstance(value, list):
        known = [one for one in value if getattr(one, "name", NUMBERS[0]) in NUMBERS]
        return [_value(record, name, one, pseudonym) for one in known]
    if dataclasses.is_dataclass(value):
        return _kept(value, pseudonym)
    if isinstance(value, str) and not isinstance(value, Enum):
        return _TEXTS[f"{type(record).__name__}.{name}"](record, value, pseudonym)
    if value is None or isinstance(value, int | float | Enum):
        return value
    raise TypeError(f"{type(record).__name__}.{name}: no rule for {type(value).__name__}")


def _token(field: str) -> Callable[[Any, str, Pseudonym], str]:
    return lambda _, text, pseudonym: pseudonym(field, text)


def _uid(_: Any, text: str, pseudonym: Pseudonym) -> str:
    """A UID again, of the form of DICOM PS3.5, B.2."""
    return f"2.25.{UUID(hex=pseudonym('uid', text), version=4).int}"


def _word(known: Iterable[str], other: str | None = None) -> Callable[[Any, str, Pseudonym], str | None]:
    """The word among `known` that the text is, whatever its case and punctuation; else `other`."""
    by_letters = {_letters(word): word for word in known}
    return lambda _, text, __: by_letters.get(_letters(text), other)


def _vendor(name: str) -> str | None:
    """By the first word: GE MEDICAL SYSTEMS is ge."""
    first = name.lower().split()[:1]
    return first[0] if first and first[0] in _VENDORS.split() else None


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


_TEXTS: dict[str, Callable[[Any, str, Pseudonym], str | None]] = {
    "subjectInformationType.patientID": _token("patient"),
    "studyInformationType.studyInstanceUID": _uid,
    "studyInformationType.bodyPartExamined": _word(PAIRED | UNPAIRED),
    "measurementInformationType.measurementID": _token("measurement"),
    "measurementInformationType.seriesInstanceUIDRoot": _uid,
    "measurementInformationType.frameOfReferenceUID": _uid,
    "measurementDependencyType.measurementID": _token("measurement"),
    "measurementDependencyType.dependencyType": _word(_DEPENDENCIES.split(), "other"),
    "acquisitionSystemInformationType.systemVendor": lambda _, name, __: _vendor(name),
    "coilLabelType.coilName": lambda coil, _, __: f"coil {coil.coilNumber}",
    "trajectoryDescriptionType.identifier": _word(_TRAJECTORIES.split(), "other"),
    "sequenceParametersType.sequence_type": _word(_SEQUENCES.split()),
    "userParameterLongType.name": lambda _, name, __: name,  # one of NUMBERS, or it would not be here
    "userParameterDoubleType.name": lambda _, name, __: name,
    "waveformInformationType.waveformName": lambda wave, _, __: wave.waveformType.value,
}
"""What becomes of text, by type and field. A kept field of text that is not here is a mistake, and raises."""
