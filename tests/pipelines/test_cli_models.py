"""`reconstream models`: what it prints and does, and how it refuses."""

from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from pipelines.cli import app
from recon_core.engine import package, store
from recon_core.engine.package import WEIGHTS
from recon_core.errors import ModelError
from tests.recon_core.engine.tiny import build, tiny_package


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A shipped model `tiny`, and a package `mine` that is nowhere yet."""
    monkeypatch.setattr(package, "build", build)
    monkeypatch.setattr(store, "SHIPPED", tmp_path / "shipped")
    monkeypatch.setenv("RECONSTREAM_MODELS", str(tmp_path / "added"))
    tiny_package(tmp_path / "shipped" / "tiny")
    tiny_package(tmp_path / "mine", name="mine", version="2.0", terms="research")
    return tmp_path


def models(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def test_an_added_model_is_listed_shown_verified_and_removed(folders: Path) -> None:
    assert models("add", folders / "mine").stdout == f"mine@2.0: added to {folders / 'added' / 'mine'}\n"
    assert models("list").stdout == (
        "mine@2.0  added, research  A correction of the zero-filled image\n"
        "tiny@1  shipped, permissive  A correction of the zero-filled image\n"
    )
    shown = models("show", "mine").stdout
    assert 'licence = "MIT"' in shown
    assert f"# hash {package.load_package(folders / 'mine').hash}" in shown
    assert models("verify").stdout.count(": good, hash ") == 2
    assert models("remove", "mine").stdout == "mine: removed\n"
    assert "mine" not in models("list").stdout


def test_a_damaged_model_is_listed_as_such_and_fails_to_verify(folders: Path) -> None:
    weights = folders / "shipped" / "tiny" / WEIGHTS
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "tiny  shipped, unusable: " in models("list").stdout
    verified = models("verify", "tiny", folders / "mine")
    assert verified.exit_code == 1
    assert verified.stdout.startswith("mine@2.0: good")
    assert "expected SHA-256" in verified.stderr


@pytest.mark.parametrize("arguments", [("show", "other"), ("remove", "tiny"), ("add", "nowhere")])
@pytest.mark.usefixtures("folders")
def test_what_cannot_be_done_is_a_model_error(arguments: tuple[str, str]) -> None:
    assert isinstance(models(*arguments).exception, ModelError)
