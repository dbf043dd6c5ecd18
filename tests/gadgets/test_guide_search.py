"""The study's images as guides: found by identity, stacked, brought into place, or refused in words."""

from dataclasses import replace

import torch

from gadgets.guide_search import GUIDE, GuideSearch
from gadgets.study import StudyStore
from recon_core.metrics import nrmse
from recon_core.rigid_registration import in_plane_motion
from tests.gadgets.earlier_scans import SLICE, TARGET, keep, keep_stack, scan
from tests.recon_core.tissue import T1, T2, tissue


def test_the_earlier_scan_of_the_patient_guides_from_where_the_anatomy_is() -> None:
    study = StudyStore()
    motion = in_plane_motion(TARGET, 4.0, (-5.0, 6.0))
    keep_stack(scan(study, "first", protocol="t1_se"), motion)
    found = GuideSearch(scan(study, "second")).guide_of(tissue(TARGET, T2), TARGET)
    assert found.refused == ()
    assert found.image is not None
    assert nrmse(found.image, tissue(TARGET, T1)) < 0.4  # 3.5 mm from one slice, 4 mm from the next
    assert found.meta[GUIDE].startswith("t1_se, moved by -5.")


def test_a_wrong_guide_is_passed_over_for_a_right_one_and_it_is_said() -> None:
    study = StudyStore()
    keep_stack(scan(study, "first", protocol="t1_se"), torch.eye(4, dtype=torch.float64))
    keep_stack(scan(study, "other", protocol="pd_tse"), torch.eye(4, dtype=torch.float64), patient=1)
    found = GuideSearch(scan(study, "third")).guide_of(tissue(TARGET, T2), TARGET)
    assert found.image is not None
    assert found.meta[GUIDE].startswith("t1_se")
    assert [reason.startswith("pd_tse is no guide: its edges") for reason in found.refused] == [True]


def test_without_a_guide_it_is_said_why() -> None:
    study = StudyStore()
    target = tissue(TARGET, T2)
    keep_stack(scan(study, "first", protocol="t1_se"), torch.eye(4, dtype=torch.float64), patient=1)
    wrong = GuideSearch(scan(study, "second")).guide_of(target, TARGET)
    another_patients = GuideSearch(scan(study, "second", patient="q")).guide_of(target, TARGET)
    assert wrong.image is another_patients.image is None
    assert "t1_se is no guide" in wrong.refused[0]
    assert another_patients.refused == ("no earlier image of this study and frame of reference",)


def test_slices_that_are_no_even_stack_are_no_guide() -> None:
    study = StudyStore()
    for number, z_mm in enumerate((0.0, 7.5, 40.0)):
        geometry = replace(SLICE, centre_mm=(0.0, 0.0, z_mm))
        keep(scan(study, "first"), geometry, geometry, number)
    found = GuideSearch(scan(study, "second")).guide_of(tissue(TARGET, T2), TARGET)
    assert found.image is None
    assert found.refused == ("a scan is no guide: its slices are not evenly spaced",)


def test_what_was_unlike_the_images_before_guides_none_that_it_happens_to_be_like() -> None:
    study = StudyStore()
    keep_stack(scan(study, "first"), torch.eye(4, dtype=torch.float64))
    after = GuideSearch(scan(study, "second"))
    for patient in (1, 2, 3):
        assert after.guide_of(tissue(TARGET, T2, patient=patient), TARGET).image is None
    alike = tissue(TARGET, T2) + 3 * tissue(TARGET, T2, patient=1)
    assert GuideSearch(scan(study, "second")).guide_of(alike, TARGET).image is not None
    assert "images before" in after.guide_of(alike, TARGET).refused[0]
