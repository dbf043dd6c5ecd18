"""What is shipped fits together: requirements are pinned, the container can start what it says."""

import json
import re
import tomllib
from pathlib import Path

import pytest
import typer
from packaging.requirements import Requirement

from pipelines.cli import app

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PINNED = dict(
    line.lower().split("==")
    for line in (ROOT / "constraints.txt").read_text().splitlines()
    if not line.startswith("#")
)
WANTED = [
    Requirement(line)
    for line in (
        *PROJECT["project"]["dependencies"],
        *PROJECT["dependency-groups"]["dev"],
        *PROJECT["build-system"]["requires"],
    )
]


@pytest.mark.parametrize("wanted", WANTED, ids=lambda wanted: wanted.name)
def test_every_requirement_is_pinned_within_its_range(wanted: Requirement) -> None:
    assert wanted.specifier.contains(PINNED[wanted.name.lower()])


def test_the_container_copies_what_its_ignore_file_lets_through() -> None:
    allowed = {
        line.removeprefix("!") for line in (ROOT / ".dockerignore").read_text().splitlines() if line[0] == "!"
    }
    copied = {
        word
        for line in re.findall(r"^COPY (.*)$", (ROOT / "Dockerfile").read_text(), re.M)
        for word in line.split()[:-1]
    }
    assert copied == allowed
    assert all((ROOT / name).exists() for name in copied)


def test_the_container_serves_as_nobody_special() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER (?!root)", text, re.M)
    assert re.search(r"^EXPOSE 9002$", text, re.M)
    (entry,) = re.findall(r"^ENTRYPOINT (.*)$", text, re.M)
    (arguments,) = re.findall(r"^CMD (.*)$", text, re.M)
    assert json.loads(entry) == ["reconstream"]
    name, *options = json.loads(arguments)
    parsed = typer.main.get_command(app).commands[name].make_context(name, options).params
    assert parsed["host"] == "0.0.0.0"
    assert parsed["allow_remote"]
    assert parsed["port"] == 9002


def test_the_health_check_is_a_query_that_a_server_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines import client
    from pipelines.server import Server

    text = (ROOT / "Dockerfile").read_text()
    (command,) = re.findall(r"^HEALTHCHECK .*\n +CMD (.*)$", text, re.M)
    python, dash_c, code = json.loads(command)
    assert (python, dash_c) == ("python", "-c")
    ask = client.ask
    with Server(port=0) as server:
        monkeypatch.setattr(client, "ask", lambda question: ask(question, port=server.address[1]))
        exec(code, {})
        assert client.ask("health") == "ok"
