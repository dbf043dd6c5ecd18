"""Every experiment runs from images to results and pictures."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.machine import RESULTS
from benchmarks.papers import classical, multi_anatomy, page, transfer, universal
from tests.benchmarks.papers.small import run_small, small_images

METRICS = {"psnr", "ssim", "nmse"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return small_images(tmp_path_factory.mktemp("data") / "images")


def methods(found: dict[str, Any], case: str) -> set[str]:
    of_case = found["cases"][case]
    assert all(of_method.keys() == METRICS for of_method in of_case.values())
    return set(of_case)


@pytest.mark.parametrize(
    ("architecture", "small"),
    [
        ("dccnn", {"n_cascades": 1, "n_layers": 2, "n_features": 4}),
        ("unet", {"n_levels": 1, "n_features": 4}),
    ],
)
def test_every_way_to_share_a_network_is_judged_on_every_anatomy(
    architecture: str, small: dict[str, int], tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multi_anatomy, "ARCHITECTURES", {architecture: "Net"})
    found = run_small(multi_anatomy, data, tmp_path, monkeypatch, config=small)
    cases = {f"Net, {r}x, {a}" for r in (4, 6) for a in ("brain", "abdomen", "cardiac")}
    assert set(found["cases"]) == cases
    assert methods(found, "Net, 6x, brain") >= {"zero-filled", "OAON", "MAON", "MAPN PN1", "MAPN PN4"}
    assert found["orderings"]["Net"]["OAON above MAON"]["cases"][1] == len(cases)
    assert (tmp_path / f"multi_anatomy_{architecture}_4x.png").is_file()


def test_a_new_anatomy_leaves_the_images_of_the_known_ones_as_they_were(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small = {"n_cascades": 1, "n_features": 4}
    found = run_small(universal, data, tmp_path, monkeypatch, config=small)
    same = found["slices of known anatomies that a new one leaves bit for bit the same"]
    assert len(same) == 4
    for counted in same.values():
        n_same, n_slices = counted.split(" of ")
        assert n_same == n_slices != "0"
    assert methods(found, "4x, prostate") >= {"Independent", "Shared", "ASPIN", "ASPIN, distilled"}
    assert (tmp_path / "universal_6x.png").is_file()


def test_fine_tuning_is_judged_beside_classical_methods_and_fills_the_page(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transfer, "N_TUNED", (2, 3))
    monkeypatch.setattr(transfer, "OF_STAGE", {"natural images only": "subnetwork_5", "tuned": "tuned_3"})
    monkeypatch.setattr(transfer, "ORDERINGS", {"tuned above L1-SPIRiT": ("tuned", "L1-SPIRiT")})
    monkeypatch.setattr(classical, "WEIGHTS", (2e-3,))
    monkeypatch.setattr(transfer, "ACCELERATIONS", (2, 10))
    monkeypatch.setattr(transfer, "ITERATIONS", (2, 2))
    small = {"n_layers": 1, "n_features": 4, "n_projections": 1}
    found = run_small(transfer, data, tmp_path, monkeypatch, matrix=64, config=small)
    expected = {"natural images only", "tuned", "L1-SPIRiT", "wavelets"}
    assert methods(found, "other subjects, R = 10") == expected
    assert (tmp_path / "transfer_R2.png").is_file()

    machine = {"gpu": None, "processor": "a processor", "date": "today"}
    section = page.section({"machine": machine, "figures": found})
    assert "| L1-SPIRiT |" in section
    assert "tuned above L1-SPIRiT" in section


def test_the_page_has_a_place_for_every_experiment() -> None:
    text = page.PAGE.read_text()
    for name in page.NAMES:
        assert "CONTENT" in page.filled(text, name, "CONTENT"), f"no marks of {name} in {page.PAGE}"
    assert RESULTS.is_dir()
