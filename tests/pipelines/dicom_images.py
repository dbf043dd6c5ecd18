"""MRD images, and a header with everything that DICOM inherits, for the tests of DICOM."""

from typing import Any

import ismrmrd
import numpy as np
import numpy.typing as npt

READ = np.array([0.8, 0.6, 0.0])
PHASE = np.array([-0.48, 0.64, 0.6])
SLICE = np.array([0.36, -0.48, 0.8])
CENTRE = np.array([12.0, -7.0, 30.0])
FOV_MM = (80.0, 42.0, 6.0)

STUDY = "1.2.840.113619.2.1.7"
FRAME = "1.2.840.113619.2.2.7"

HEADER = f"""<?xml version="1.0"?>
<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">
<subjectInformation><patientName>Müller^Änne</patientName><patientWeight_kg>61.5</patientWeight_kg>
<patientID>P-4711</patientID><patientBirthdate>1956-03-09</patientBirthdate><patientGender>F</patientGender>
</subjectInformation>
<studyInformation><studyDate>2026-11-20</studyDate><studyTime>08:09:10</studyTime><studyID>S-17</studyID>
<accessionNumber>90210</accessionNumber><referringPhysicianName>Doe^Jo</referringPhysicianName>
<studyDescription>head</studyDescription><studyInstanceUID>{STUDY}</studyInstanceUID>
<bodyPartExamined>head</bodyPartExamined></studyInformation>
<measurementInformation><measurementID>M-1</measurementID><seriesDate>2026-11-20</seriesDate>
<seriesTime>08:30:00</seriesTime><patientPosition>HFS</patientPosition>
<initialSeriesNumber>7</initialSeriesNumber><protocolName>t1_gre</protocolName>
<frameOfReferenceUID>{FRAME}</frameOfReferenceUID></measurementInformation>
<acquisitionSystemInformation><systemVendor>ACME</systemVendor><systemModel>One</systemModel>
<systemFieldStrength_T>1.5</systemFieldStrength_T><institutionName>Hospital</institutionName>
<stationName>MR1</stationName><deviceSerialNumber>SN-3</deviceSerialNumber></acquisitionSystemInformation>
<experimentalConditions><H1resonanceFrequency_Hz>63870000</H1resonanceFrequency_Hz></experimentalConditions>
<encoding><encodedSpace><matrixSize><x>8</x><y>6</y><z>1</z></matrixSize>
<fieldOfView_mm><x>80</x><y>42</y><z>6</z></fieldOfView_mm></encodedSpace>
<reconSpace><matrixSize><x>8</x><y>6</y><z>1</z></matrixSize>
<fieldOfView_mm><x>80</x><y>42</y><z>6</z></fieldOfView_mm></reconSpace>
<encodingLimits/><trajectory>cartesian</trajectory><echoTrainLength>1</echoTrainLength></encoding>
<sequenceParameters><TR>500</TR><TE>4.5</TE><TE>9.25</TE><TI>300</TI><flipAngle_deg>25</flipAngle_deg>
<sequence_type>Flash</sequence_type></sequenceParameters>
</ismrmrdHeader>""".encode()


def mrd_image(
    array: npt.NDArray[Any], position: Any = CENTRE, meta: dict[str, Any] | None = None, **header: Any
) -> ismrmrd.Image:
    """An oblique image of `(channel, z, y, x)` or `(y, x)` pixels."""
    header = {"image_type": ismrmrd.IMTYPE_MAGNITUDE, "image_index": 1, **header}
    made = ismrmrd.Image.from_array(array, **header)
    made.read_dir[:], made.phase_dir[:], made.slice_dir[:] = READ, PHASE, SLICE
    made.position[:] = position
    made.field_of_view[:] = FOV_MM
    made.meta = ismrmrd.Meta(meta or {})
    return made


def phantom(shape: tuple[int, ...] = (1, 1, 6, 8), seed: int = 1) -> npt.NDArray[np.float32]:
    """Positive values, no two alike."""
    return np.random.default_rng(seed).uniform(0.1, 1000.0, shape).astype(np.float32)
