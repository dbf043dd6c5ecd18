"""Is this machine ready to reconstruct? Each check is one function, and says what to do when it is not."""

import errno
import platform
import shutil
import socket
import sys
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, packages_distributions, version
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import msgspec
from packaging.requirements import Requirement

OUR_PACKAGES = ("recon_core", "gadgets", "pipelines")
LOW_DISK_BYTES = 10 << 30
"""About thirty large scans of journal."""


class Finding(msgspec.Struct, frozen=True):
    """What one check found."""

    subject: str
    verdict: Literal["good", "note", "bad"]
    text: str


def examine(port: int, journal: Path) -> list[Finding]:
    """All findings, in the order in which a person would want to read them."""
    return [
        Finding("python", "good", f"{platform.python_version()} at {sys.executable}"),
        *_versions(),
        *_package_names(),
        _gpu(),
        _port(port),
        _disk(journal),
    ]


def _versions() -> Iterator[Finding]:
    yield Finding("reconstream", "good", version("reconstream"))
    for line in distribution("reconstream").requires or ():
        requirement = Requirement(line)
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            yield Finding(requirement.name, "bad", f"not installed; pip install '{requirement}'")
            continue
        if requirement.specifier.contains(found, prereleases=True):
            yield Finding(requirement.name, "good", found)
        else:
            yield Finding(requirement.name, "bad", f"{found}, needs {requirement.specifier}; upgrade it")


def _package_names() -> Iterator[Finding]:
    """Our three names are ordinary words, which another distribution or a local folder may hold too."""
    owners = packages_distributions()
    ours = Path(__file__).parents[1]
    for name in OUR_PACKAGES:
        others = sorted(set(owners.get(name, ())) - {"reconstream"})
        spec = find_spec(name)
        found = Path(str(spec.origin)).parents[1] if spec and spec.origin else None
        if others:
            yield Finding(name, "bad", f"{', '.join(others)} installs a package '{name}' too; uninstall it")
        elif found != ours:
            yield Finding(name, "bad", f"imported from {found}, not from {ours}; rename what lies there")
        else:
            yield Finding(name, "good", f"imported from {ours}")


def _gpu() -> Finding:
    import torch

    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        name = torch.cuda.get_device_name()
        return Finding("gpu", "good", f"{name}, {free >> 30} of {total >> 30} GiB free")
    return Finding(
        "gpu", "note", f"none that torch {torch.__version__} can use; reconstructions run on the CPU"
    )


def _port(port: int) -> Finding:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            return Finding(
                "port", "bad", f"{port} cannot be used: {error.strerror}; choose another with --port"
            )
        return Finding(
            "port", "note", f"{port} is taken, by a running server perhaps; stop it or choose another"
        )
    return Finding("port", "good", f"{port} is free")


def _disk(journal: Path) -> Finding:
    existing = next(folder for folder in (journal.resolve(), *journal.resolve().parents) if folder.exists())
    free = shutil.disk_usage(existing).free
    text = f"{free / 2**30:.1f} GiB free at {existing}"
    if free < LOW_DISK_BYTES:
        return Finding("disk", "note", f"{text}; journals of large scans will soon fill it")
    return Finding("disk", "good", text)
