"""The tiny architecture is a known one."""

import pytest

from recon_core.engine import package
from tests.recon_core.engine import tiny


@pytest.fixture(autouse=True)
def tiny_architecture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "build", tiny.build)
