"""The doctor names what would keep a reconstruction from running."""

import json
import socket
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from pipelines import doctor
from pipelines.cli import app
from pipelines.doctor import examine


def findings(port: int = 0, journal: Path = Path()) -> dict[str, tuple[str, str]]:
    return {f.subject: (f.verdict, f.text) for f in examine(port, journal)}


def test_every_dependency_and_package_name_has_a_verdict(tmp_path: Path) -> None:
    found = findings(journal=tmp_path / "not" / "yet")
    for subject in ("python", "reconstream", "torch", "ismrmrd", *doctor.OUR_PACKAGES, "port", "disk"):
        assert found[subject][0] in ("good", "note"), subject
    assert str(tmp_path) in found["disk"][1]


def test_a_port_in_use_is_noted() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert findings(port)["port"] == (
            "note",
            f"{port} is taken, by a running server perhaps; stop it or choose another",
        )


def test_another_distribution_with_one_of_our_package_names_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "packages_distributions", lambda: {"gadgets": ["reconstream", "gizmos"]})
    found = findings()
    assert found["gadgets"] == ("bad", "gizmos installs a package 'gadgets' too; uninstall it")
    assert found["pipelines"][0] == "good"


def test_a_package_found_elsewhere_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "__file__", "/opt/other/pipelines/doctor.py")
    verdict, text = findings()["gadgets"]
    assert verdict == "bad"
    assert "not from /opt/other" in text


def test_a_gpu_is_named_with_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda: (30 << 30, 40 << 30))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda: "A Large GPU")
    assert findings()["gpu"] == ("good", "A Large GPU, 30 of 40 GiB free")


def test_missing_and_old_dependencies_are_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    def versions(name: str) -> str:
        if name == "h5py":
            raise PackageNotFoundError(name)
        return "0.1" if name == "numpy" else version(name)

    monkeypatch.setattr(doctor, "version", versions)
    found = findings()
    assert found["h5py"][0] == "bad"
    assert found["h5py"][1].startswith("not installed; pip install 'h5py")
    assert found["numpy"] == ("bad", "0.1, needs >=2; upgrade it")


def test_a_bad_finding_is_exit_code_1(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "packages_distributions", lambda: {"gadgets": ["gizmos"]})
    result = CliRunner().invoke(app, ["doctor", "--json", "--port", "65535"])
    assert result.exit_code == 1
    by_subject = {finding["subject"]: finding["verdict"] for finding in json.loads(result.stdout)}
    assert by_subject["gadgets"] == "bad"
