"""Every example in README and docs runs, every command is documented, every link leads somewhere."""

import re
import runpy
import shlex
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any, Self

import numpy as np
import pytest
import typer
from PIL import Image
from typer.testing import CliRunner

from gadgets.registry import known_gadgets
from pipelines.cli import app
from pipelines.recipe import recipe_from_toml, shipped_recipes
from pipelines.server import Server

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
SET_UP = {"git", "cd", "pip", "docker", "gadgetron"}
"""Programs of console examples that a test cannot run."""


@dataclass(frozen=True)
class Block:
    """One fenced block of a page."""

    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(*found) for found in re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text(), re.M | re.S)]


def commands(block: Block) -> list[str]:
    """The lines after `$ `, continued ones joined."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [line.removeprefix("$ ") for line in lines if line.startswith("$ ")]


class Example:
    """Runs the commands of one page as a reader would, with a server of its own on a free port."""

    def __init__(self) -> None:
        self._runner = CliRunner()
        self._servers = ExitStack()
        self._port: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._servers.close()

    def run(self, command: str) -> None:
        program, *arguments = shlex.split(command.removesuffix("&"))
        arguments = [word for a in arguments for word in (_files_like(a) if "*" in a else [a])]
        if program == "make":
            assert all(f"\n{target}:" in (ROOT / "Makefile").read_text() for target in arguments), command
        elif program == "reconstream" and arguments[0] == "serve":
            self._serve(arguments[1:])
        elif program == "reconstream":
            # These have tests of their own.
            wanted = ["--help"] if arguments[0] in ("demo", "train", "finetune", "send-dicom") else []
            port = ["--port", str(self._port)] if arguments[0] == "send" else []
            result = self._runner.invoke(app, [*arguments, *port, *wanted], catch_exceptions=False)
            assert result.exit_code == 0, f"{command}: {result.output}"
        else:
            assert program in SET_UP, f"no way to run `{command}` in a test"

    def _serve(self, arguments: list[str]) -> None:
        journal = Path(arguments[arguments.index("--journal") + 1]) if "--journal" in arguments else None
        self._servers.close()
        server = self._servers.enter_context(Server(port=0, journal=journal))
        self._port = server.address[1]


def _files_like(pattern: str) -> list[str]:
    return sorted(map(str, Path().glob(pattern)))


PAGES_WITH_PYTHON = [page for page in PAGES if any(block.language == "python" for block in blocks(page))]
PAGES_WITH_CONSOLE = [page for page in PAGES if any(block.language == "console" for block in blocks(page))]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, simulated_file: Path) -> Path:
    """A working directory with the files that the examples speak of."""
    (tmp_path / "scan.h5").write_bytes(simulated_file.read_bytes())
    np.save(tmp_path / "kspace.npy", np.ones((4, 1, 16, 16), np.complex64))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", PAGES_WITH_PYTHON, ids=lambda page: page.name)
def test_python_examples_run(page: Path, desk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All blocks of a page as one module, as a reader would save them. An example asserts what it claims."""
    path = desk / f"example_of_{page.stem.lower()}.py"
    path.write_text("\n".join(block.text for block in blocks(page) if block.language == "python"))
    spec = spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    monkeypatch.setitem(sys.modules, path.stem, module)
    spec.loader.exec_module(module)


@pytest.mark.usefixtures("desk")
def test_the_worked_example_runs_and_leaves_its_picture() -> None:
    runpy.run_path(str(ROOT / "docs" / "worked_example.py"))
    with Image.open("worked_example.png") as picture:
        assert picture.getextrema()[1] > 200


@pytest.mark.usefixtures("desk")
@pytest.mark.parametrize("page", PAGES_WITH_CONSOLE, ids=lambda page: page.name)
def test_console_examples_run(page: Path) -> None:
    with Example() as example:
        for block in blocks(page):
            if block.language == "console":
                for command in commands(block):
                    example.run(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_recipe_examples_are_good(page: Path) -> None:
    for block in blocks(page):
        if block.language == "toml" and "[[gadget]]" in block.text:
            assert recipe_from_toml(block.text, page.name).gadgets


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    prose = re.sub(r"^```.*?^```$|`[^`]*`", "", page.read_text(), flags=re.M | re.S)
    for target in re.findall(r"\]\(([^)#]+)", prose):
        if not target.startswith("https://"):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def leaf_commands(command: Any, name: str) -> list[tuple[str, Any]]:
    if hasattr(command, "commands"):
        return [leaf for n, c in command.commands.items() for leaf in leaf_commands(c, f"{name} {n}")]
    return [(name, command)]


def test_every_command_and_option_is_documented() -> None:
    text = (ROOT / "docs" / "commands.md").read_text()
    sections = dict(re.findall(r"^##+ (reconstream [\w -]+)\n(.*?)(?=^##|\Z)", text, re.M | re.S))
    for name, command in leaf_commands(typer.main.get_command(app), "reconstream"):
        for parameter in command.params:
            is_option = parameter.param_type_name == "option"
            word = parameter.opts[0] if is_option else parameter.name.upper()
            assert f"`{word}`" in sections[name], f"{name}: {word}"


def test_every_shipped_recipe_and_gadget_has_a_line_in_the_docs() -> None:
    text = (ROOT / "docs" / "recipes.md").read_text()
    for name in [*shipped_recipes(), *known_gadgets()]:
        assert f"`{name}`" in text, name
