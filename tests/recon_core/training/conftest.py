"""Packages of tiny networks need not be measured on many batches."""

import pytest


@pytest.fixture(autouse=True)
def few_batches_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recon_core.training.packaging.N_SEEN", 4)
