"""A folder of studies: what it remembers, forgets, hides, and does when the disk lets it down."""

import stat
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch

from gadgets.study import Item, ScanIdentity, StudyStore
from pipelines.studies import folder as folder_module
from pipelines.studies.chosen import chosen_studies
from pipelines.studies.folder import StudyFolder
from recon_core.errors import InputError

SCAN = ScanIdentity(
    measurement="45387_1079885", study="Doe\n1.2.840", frame_of_reference="1.3.12", coil_set="Head:1"
)
LATER = ScanIdentity(measurement="later", study=SCAN.study)
HOUR_S = 3600.0


def noise(number: int, name: str = "") -> Item:
    tensors = {"covariance": torch.full((2, 2), number, dtype=torch.complex64)}
    return Item(kind="noise", scan=SCAN, name=name, tensors=tensors, about={"number": number})


def numbers(studies: StudyFolder) -> list[int]:
    return [kept.about["number"] for kept in studies.find("noise", LATER)]


def test_what_one_process_kept_the_next_one_finds(tmp_path: Path) -> None:
    with StudyFolder(tmp_path / "made" / "here") as studies:
        studies.keep(noise(1, SCAN.measurement))
    with StudyFolder(tmp_path / "made" / "here") as studies:
        (kept,) = studies.find("noise", ScanIdentity(), SCAN.measurement)
        tensors = kept.load()
        assert tensors is not None
        assert torch.equal(tensors["covariance"], noise(1).tensors["covariance"])
        assert abs(kept.kept_at - time.time()) < 60


def test_what_waits_for_the_disk_is_found_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = folder_module.write_whole

    def slowly(path: Path, content: bytes) -> None:
        time.sleep(0.02)
        written(path, content)

    monkeypatch.setattr(folder_module, "write_whole", slowly)
    with StudyFolder(tmp_path) as studies:
        for number in range(5):
            studies.keep(noise(number))
            assert numbers(studies) == [*range(number, -1, -1)]
        while studies.rows()[4:] == []:
            assert numbers(studies) == [4, 3, 2, 1, 0]


def test_items_expire(tmp_path: Path) -> None:
    now = 1e9
    with StudyFolder(tmp_path, max_age_s=2 * HOUR_S, clock=lambda: now) as studies:
        studies.keep(noise(1))
        studies.flush()
        now += HOUR_S
        studies.keep(noise(2))
        studies.flush()
        assert numbers(studies) == [2, 1]
        now += 1.5 * HOUR_S
        assert numbers(studies) == [2]
        studies.keep(noise(3))
        studies.flush()
        assert len(list((tmp_path / "blobs").iterdir())) == len(studies.rows()) == 2


def test_no_identifier_is_on_the_disk_and_nobody_else_may_look(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with StudyFolder(tmp_path / name) as studies:
            studies.keep(noise(1, SCAN.measurement))
            studies.flush()
            (row,) = studies.rows()
            fields = [field.encode() for text in vars_of(SCAN) for field in text.split("\n")]
            contents = [path.read_bytes() for path in (tmp_path / name).rglob("*") if path.is_file()]
            assert not [field for field in fields for content in contents if field in content]
            assert row.study in str(contents), "the hash itself is there to be found"
            modes = {stat.S_IMODE(path.stat().st_mode) for path in (tmp_path / name).rglob("*")}
            assert modes <= {0o600, 0o700}
    hashes = set()
    for name in ("a", "b"):
        with StudyFolder(tmp_path / name) as studies:
            hashes.add(studies.rows()[0].study)
    assert len(hashes) == 2, "each folder has a secret of its own"


def vars_of(scan: ScanIdentity) -> list[str]:
    return [getattr(scan, field) for field in scan.__dataclass_fields__]


@pytest.mark.parametrize("damage", ["changed", "cut", "gone"])
def test_a_damaged_blob_is_never_returned(
    tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    with StudyFolder(tmp_path) as studies:
        studies.keep(noise(1))
        studies.flush()
        (blob,) = (tmp_path / "blobs").iterdir()
        content = blob.read_bytes()
        if damage == "gone":
            blob.unlink()
        else:
            blob.write_bytes(content[:-1] + (b"\xff" if damage == "changed" else b""))
        (kept,) = studies.find("noise", LATER)
        assert kept.load() is None
    assert ("SHA-256" in caplog.text) == (damage != "gone")


def test_what_dead_writers_left_is_swept(tmp_path: Path) -> None:
    with StudyFolder(tmp_path) as studies:
        studies.keep(noise(1))
    (tmp_path / "blobs" / "orphan.safetensors").write_bytes(b"never indexed")
    (tmp_path / "blobs" / ".half").write_bytes(b"never renamed")
    with StudyFolder(tmp_path) as studies:
        assert [path.name for path in (tmp_path / "blobs").iterdir()] == [studies.rows()[0].blob]
        assert numbers(studies) == [1]


def test_sessions_and_servers_share_a_folder(tmp_path: Path) -> None:
    with StudyFolder(tmp_path) as one, StudyFolder(tmp_path) as other, ThreadPoolExecutor(8) as sessions:

        def session(number: int) -> bool:
            mine = one if number % 2 else other
            mine.keep(noise(number, f"scan {number}"))
            return [k.about["number"] for k in mine.find("noise", LATER, f"scan {number}")] == [number]

        assert all(sessions.map(session, range(40)))
        one.flush()
        other.flush()
        assert sorted(numbers(one)) == sorted(numbers(other)) == list(range(40))


def test_a_disk_that_fails_costs_the_item_and_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with StudyFolder(tmp_path) as studies:
        with monkeypatch.context() as failing:
            failing.setattr(folder_module, "write_whole", full)
            studies.keep(noise(1))
            studies.flush()
        assert "expected to keep an item, got: [Errno 28] No space left" in caplog.text
        studies.keep(noise(2))
        studies.flush()
        assert numbers(studies) == [2]


def test_a_folder_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "index.sqlite").write_bytes(b"no database" * 100)
    with pytest.raises(InputError, match="expected an index of studies, got: file is not a database"):
        StudyFolder(tmp_path)


def test_studies_are_where_the_user_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.delenv("RECONSTREAM_STUDIES")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    with chosen_studies("off") as studies:
        assert isinstance(studies, StudyStore)
    assert list(tmp_path.iterdir()) == []
    with chosen_studies("on") as studies:
        assert isinstance(studies, StudyFolder)
    assert (tmp_path / "reconstream" / "studies" / "index.sqlite").is_file()
    with chosen_studies(str(tmp_path / "elsewhere")):
        assert (tmp_path / "elsewhere" / "index.sqlite").is_file()
    monkeypatch.setenv("RECONSTREAM_STUDIES", str(tmp_path / "elsewhere" / "secret"))
    with chosen_studies("on") as studies:  # a file cannot be a folder
        assert isinstance(studies, StudyStore)
    assert "studies are forgotten when the process ends" in caplog.text
    with pytest.raises(OSError, match="secret"), chosen_studies(str(tmp_path / "elsewhere" / "secret")):
        pass
