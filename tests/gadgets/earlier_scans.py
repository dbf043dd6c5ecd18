"""Earlier scans of a study, and what they left."""

from dataclasses import replace
from typing import Any

import ismrmrd
import torch

from gadgets.gadget import Context
from gadgets.guides import keep_guide
from gadgets.reconstructed import ACCELERATION
from gadgets.study import StudyStore
from recon_core.image_geometry import ImageGeometry
from tests.gadgets.small_scan import context, encoding
from tests.recon_core.tissue import T1, tissue

TARGET = ImageGeometry(matrix=(96, 96, 1), fov_mm=(220.0, 220.0, 5.0), centre_mm=(0.0, 4.0, 3.5))
SLICE = replace(TARGET, matrix=(120, 110, 1), centre_mm=(0.0, 0.0, 0.0))


def scan(study: StudyStore, measurement: str, *, patient: str = "p", protocol: str = "") -> Context:
    made = context(encoding((8, 8, 1)), study=study)
    schema = ismrmrd.xsd
    made.header.subjectInformation = schema.subjectInformationType(patientID=patient)
    made.header.studyInformation = schema.studyInformationType(studyInstanceUID="1.2.3")
    made.header.measurementInformation = schema.measurementInformationType(
        measurementID=measurement, frameOfReferenceUID="4.5", patientPosition="HFS", protocolName=protocol
    )
    return made


def keep(made: Context, geometry: ImageGeometry, claimed: ImageGeometry, number: int, **anatomy: Any) -> None:
    image = ismrmrd.Image.from_array(tissue(geometry, T1, **anatomy).numpy()[None], slice=number)
    image.image_type = ismrmrd.IMTYPE_MAGNITUDE
    image.position[:], image.field_of_view[:] = claimed.centre_mm, claimed.fov_mm
    image.read_dir[:], image.phase_dir[:], image.slice_dir[:] = claimed.directions
    image.meta = ismrmrd.Meta({ACCELERATION: "1"})
    keep_guide(image, made)


def keep_stack(made: Context, motion: torch.Tensor, **anatomy: Any) -> None:
    """Slices with gaps, in the interleaved order that they were acquired in."""
    for number, z_mm in ((2, 7.5), (0, -7.5), (3, 15.0), (1, 0.0)):
        geometry = replace(SLICE, centre_mm=(0.0, 0.0, z_mm))
        keep(made, geometry, geometry.moved(torch.linalg.inv(motion)), number, **anatomy)
