"""The example package in docs/: found through its entry point, and as well-behaved as built-in gadgets."""

import runpy
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import torch

from gadgets.accumulate import Accumulate
from gadgets.registry import ENTRY_POINT_GROUP, known_gadgets
from pipelines.recipe import recipe_from_file
from pipelines.runner import run
from recon_core.errors import RecipeError
from tests.gadgets.small_scan import context, encoding, random_complex, readouts

EXAMPLE = Path(__file__).parents[2] / "docs" / "example_gadget"


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder on the import path that holds the installed package."""
    entries = "[reconstream.gadgets]\nApodise = apodise_gadget:Apodise\n"
    declared = (EXAMPLE / "pyproject.toml").read_text()
    assert '[project.entry-points."reconstream.gadgets"]\nApodise = "apodise_gadget:Apodise"\n' in declared
    (tmp_path / "apodise_gadget.py").write_text((EXAMPLE / "apodise_gadget.py").read_text())
    information = tmp_path / "apodise_gadget-0.1.0.dist-info"
    information.mkdir()
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: apodise-gadget\nVersion: 0.1.0\n")
    (information / "entry_points.txt").write_text(entries)
    monkeypatch.syspath_prepend(tmp_path)
    known_gadgets.cache_clear()
    yield tmp_path
    known_gadgets.cache_clear()
    sys.modules.pop("apodise_gadget", None)


@pytest.mark.usefixtures("installed")
def test_an_installed_package_adds_its_gadget_to_recipes() -> None:
    kspace = random_complex((2, 1, 8, 16))
    recipe = recipe_from_file(EXAMPLE / "softer.toml")
    (image,) = run(recipe, [readouts(kspace)], context(encoding((16, 8, 1))))
    assert image.data.shape == (1, 1, 8, 16)
    gadget = known_gadgets()["Apodise"](strength=1.0)
    (plain,) = Accumulate()([readouts(kspace)], context(encoding((16, 8, 1))))
    (damped,) = gadget([plain], context(encoding((16, 8, 1))))
    assert torch.allclose(damped.data[..., 8], plain.data[..., 8])
    assert damped.data[..., 0].abs().max() < 1e-6


@pytest.mark.usefixtures("installed")
def test_the_example_conforms() -> None:
    runpy.run_path(str(EXAMPLE / "conformance.py"))


def test_a_name_already_taken_is_refused(installed: Path) -> None:
    entries = installed / "apodise_gadget-0.1.0.dist-info" / "entry_points.txt"
    entries.write_text("[reconstream.gadgets]\nGrappa = apodise_gadget:Apodise\n")
    assert [entry.name for entry in entry_points(group=ENTRY_POINT_GROUP)] == ["Grappa"]
    with pytest.raises(RecipeError, match="'Grappa' of apodise_gadget:Apodise"):
        known_gadgets()


def test_the_package_builds_as_it_is(tmp_path: Path) -> None:
    pytest.importorskip("hatchling")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*command, "--no-index", "--target", tmp_path, EXAMPLE], check=True)
    (found,) = (tmp_path).glob("apodise_gadget-*.dist-info/entry_points.txt")
    assert "Apodise = apodise_gadget:Apodise" in found.read_text()
