"""`reconstream studies`: what it prints and forgets, and how it refuses."""

import json
import re
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner, Result

from gadgets.study import Item, ScanIdentity
from pipelines.cli import app
from pipelines.mrd_hdf5_writer import write_scan
from pipelines.sources import Scan, open_scan
from pipelines.studies.folder import StudyFolder
from recon_core.errors import InputError


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> StudyFolder:
    """Two studies and a scan of none."""
    monkeypatch.setenv("RECONSTREAM_STUDIES", str(tmp_path))
    with StudyFolder(tmp_path) as folder:
        for study, protocol in (("a", "t1"), ("a", "t2"), ("b", "pd"), ("", "noise")):
            scan = ScanIdentity(measurement=f"{study} {protocol}", study=study)
            tensors = {"x": torch.ones(1)}
            folder.keep(Item(kind="guide", scan=scan, tensors=tensors, about={"protocol": protocol}))
    return folder


def studies(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["studies", *map(str, arguments)])


@pytest.mark.usefixtures("kept")
def test_studies_are_listed_shown_and_purged() -> None:
    a, b, none = studies("list").stdout.splitlines()
    assert re.fullmatch(r"[0-9a-f]{12}  \d{4}-\d\d-\d\d \d\d:\d\d:\d\d  0\.0 MB  2 guide", a)
    assert none.startswith("none  ")
    shown = studies("show", a[:5]).stdout.splitlines()
    assert [line.rpartition("  ")[2] for line in shown] == ['{"protocol":"t1"}', '{"protocol":"t2"}']
    assert studies("purge", a[:12]).stdout == "2 items removed\n"
    assert studies("list").stdout.splitlines() == [b, none]
    assert studies("purge").stdout == "2 items removed\n"
    assert studies("list").stdout == ""


@pytest.mark.parametrize("command", ["show", "purge"])
@pytest.mark.usefixtures("kept")
def test_a_study_that_is_not_one_is_refused(command: str) -> None:
    for name, n_found in (("nowhere", 0), ("", 3)):
        result = studies(command, name)
        assert isinstance(result.exception, InputError)
        assert f"got that of {n_found}" in str(result.exception)


def test_another_folder_may_be_named(tmp_path: Path) -> None:
    assert studies("purge", "--studies", tmp_path / "new").stdout == "0 items removed\n"
    assert (tmp_path / "new" / "index.sqlite").is_file()


def test_commands_share_what_scans_leave_only_where_they_are_told_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated_file: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    scan = open_scan(simulated_file)
    noise = "<dependencyType>Noise</dependencyType><measurementID>simulated_head</measurementID>"
    named = f"<measurementDependency>{noise}</measurementDependency></measurementInformation>".encode()
    header_xml = scan.header_xml.replace(b"</measurementInformation>", named)
    _noise, *imaging = scan.items()
    write_scan(Scan(header_xml, lambda: iter(imaging)), Path("second.h5"))

    def notes(path: Path, *options: str) -> list[str]:
        command = ["recon", str(path), "--recipe", "cartesian_fft", "--json", *options]
        result = CliRunner().invoke(app, command, catch_exceptions=False)
        found: list[str] = json.loads(result.stdout)[0]["notes"]
        return [note for note in found if "whitened" in note]

    assert notes(simulated_file) == notes(simulated_file, "--studies", "here") == []
    assert notes(Path("second.h5")) == [
        "not noise-whitened: the noise scan that the header names is not known"
    ]
    assert notes(Path("second.h5"), "--studies", "here") == []
