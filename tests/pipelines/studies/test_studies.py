"""Studies in memory and in a folder: both keep to the same laws."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from gadgets.study import Item, Kind, ScanIdentity, Studies, StudyStore
from pipelines.studies.folder import StudyFolder

SCAN = ScanIdentity(measurement="scan 1", study="study", frame_of_reference="frame", coil_set="left\nright")
LATER = ScanIdentity(measurement="scan 2", study="study", frame_of_reference="frame", coil_set="left\nright")


@pytest.fixture(params=["memory", "folder"])
def studies(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Studies]:
    if request.param == "memory":
        yield StudyStore(max_bytes=4000)
    else:
        with StudyFolder(tmp_path, max_bytes=4000) as folder:
            yield folder


def item(number: int, kind: Kind = "noise", scan: ScanIdentity = SCAN, name: str = "", n: int = 1) -> Item:
    return Item(
        kind=kind, scan=scan, name=name, about={"number": number}, tensors={"x": torch.full((n,), 1j)}
    )


def numbers(studies: Studies, kind: Kind = "noise", scan: ScanIdentity = LATER, name: str = "") -> list[int]:
    return [kept.about["number"] for kept in studies.find(kind, scan, name)]


def test_a_scan_finds_what_its_study_has_newest_first_without_its_own(studies: Studies) -> None:
    for number in range(3):
        studies.keep(item(number))
    studies.keep(item(3, kind="coil_maps"))
    assert numbers(studies) == [2, 1, 0]
    assert numbers(studies, scan=SCAN) == []
    (kept, *_) = studies.find("noise", LATER)
    tensors = kept.load()
    assert tensors is not None
    assert torch.equal(tensors["x"], torch.full((1,), 1j))


@pytest.mark.parametrize(
    ("kind", "differing", "is_found"),
    [
        ("noise", {"study": "other"}, False),
        ("noise", {"study": ""}, False),
        ("noise", {"frame_of_reference": "other", "coil_set": "other"}, True),
        ("guide", {"frame_of_reference": "other"}, False),
        ("guide", {"coil_set": "other"}, True),
        ("calibration", {"coil_set": "right\nleft"}, False),
        ("calibration", {"frame_of_reference": ""}, False),
    ],
)
def test_a_scan_finds_nothing_of_another_study_or_place(
    studies: Studies, kind: Kind, differing: dict[str, str], is_found: bool
) -> None:
    studies.keep(item(1, kind))
    identity = {field: getattr(LATER, field) for field in LATER.__dataclass_fields__} | differing
    assert numbers(studies, kind, ScanIdentity(**identity)) == [1] * is_found


def test_a_scan_without_a_study_finds_nothing_of_one_without(studies: Studies) -> None:
    studies.keep(item(1, scan=ScanIdentity()))
    assert numbers(studies, scan=ScanIdentity()) == []


def test_a_name_finds_its_item_unless_that_is_of_another_study(studies: Studies) -> None:
    studies.keep(item(1, name="adjustment"))
    studies.keep(item(2, name="other"))
    for scan, found in ((LATER, [1]), (SCAN, [1]), (ScanIdentity(), [1]), (ScanIdentity(study="new"), [])):
        assert numbers(studies, scan=scan, name="adjustment") == found
    studies.keep(item(3, scan=ScanIdentity(), name="nowhere"))
    assert numbers(studies, name="nowhere") == [3]


def test_an_item_takes_the_place_of_the_one_of_its_name(studies: Studies) -> None:
    studies.keep(item(1, name="a"))
    studies.keep(item(2, name="b"))
    studies.keep(item(3, name="a"))
    if isinstance(studies, StudyFolder):
        studies.flush()
    assert numbers(studies) == [3, 2]


def test_the_oldest_make_room(studies: Studies) -> None:
    for number in range(10):
        studies.keep(item(number, n=100))  # 800 bytes, and a file's header
    if isinstance(studies, StudyFolder):
        studies.flush()
    assert numbers(studies) == ([9, 8, 7, 6, 5] if isinstance(studies, StudyStore) else [9, 8, 7, 6])
