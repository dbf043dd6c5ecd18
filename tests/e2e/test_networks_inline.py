"""Networks behind a real server: clients get images whatever becomes of the network, and replays agree."""

import multiprocessing
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import pytest
import torch

from gadgets.mrd_images import FALLBACK, NOTE
from pipelines import client, inference
from pipelines.reconstruction import reconstruct
from pipelines.server import Server
from pipelines.simulated_scan import simulated_scan
from pipelines.sources import Scan
from recon_core.engine.engine import Engine
from recon_core.engine.store import VARIABLE, ModelStore
from recon_core.simulate import simulate_acquisition
from tests.e2e.journalling_server import JournallingServer
from tests.model_packages import network_package
from tests.pipelines.serving import contents, serving

SCAN = simulated_scan(simulate_acquisition((48, 48), 4, n_slices=3), acceleration=2, n_calibration_lines=16)
OTHER = simulated_scan(
    simulate_acquisition((40, 48), 6, n_slices=2, seed=1), acceleration=3, n_calibration_lines=16
)


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where servers that start now look for packages first."""
    monkeypatch.setenv(VARIABLE, str(tmp_path / "models"))
    return tmp_path / "models"


@pytest.fixture
def of_this_process(models: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without a server, the process has an engine with the same packages."""
    with Engine(store=ModelStore(models, models)) as engine:
        monkeypatch.setattr(inference, "_made", lambda: engine)
        yield


def sent(server: Server, scan: Scan = SCAN, recipe: str = "cartesian_cascade") -> list[ismrmrd.Image]:
    host, port = server.address
    return list(client.send(scan.header_xml, scan.items(), recipe, host=host, port=port))


@pytest.mark.usefixtures("of_this_process")
@pytest.mark.parametrize("recipe", ["cartesian_cascade", "cartesian_universal"])
def test_a_replay_equals_what_was_made_inline(models: Path, tmp_path: Path, recipe: str) -> None:
    network_package(models)
    network_package(models, "d5c5")
    with serving(tmp_path / "journals") as server:
        images, journal = JournallingServer(server, tmp_path / "journals").send(SCAN, recipe)
    assert [image.meta[FALLBACK] for image in images] == ["false"] * 3
    assert contents(reconstruct(journal, recipe)) == contents(images)
    assert contents(reconstruct(SCAN.items(), recipe, header=SCAN.header_xml)) == contents(images)


def test_two_clients_at_once_get_what_each_gets_alone(models: Path) -> None:
    network_package(models)
    with serving() as server:
        alone = [contents(sent(server, scan)) for scan in (SCAN, OTHER)]
        together: list[Any] = [None, None]

        def sends(number: int, scan: Scan) -> None:
            together[number] = contents(sent(server, scan))

        threads = [threading.Thread(target=sends, args=(i, scan)) for i, scan in enumerate((SCAN, OTHER))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert together == alone


def test_a_network_that_gives_nan_gives_the_client_the_fallback(models: Path) -> None:
    network_package(models, weights=lambda drawn: torch.full_like(drawn, 1e30))
    with serving() as server:
        images = sent(server)
    assert len(images) == 3
    for image in images:
        assert image.meta[FALLBACK] == "true"
        assert image.meta["SeriesDescription"] == "(fallback: wavelet SENSE)"
    assert "values that are not finite" in images[0].meta[NOTE]


def pausing(is_first_here: threading.Event) -> Iterator[Any]:
    """The scan, whose second image is not sent before the first one has come back."""
    noise, first, *others = SCAN.items()
    yield from (noise, first)
    assert is_first_here.wait(30)
    yield from others


def test_an_engine_killed_in_the_middle_of_a_scan_gives_the_client_the_fallback(models: Path) -> None:
    network_package(models)
    is_first_here = threading.Event()
    with serving() as server:
        host, port = server.address
        images = client.send(
            SCAN.header_xml, pausing(is_first_here), "cartesian_cascade", host=host, port=port
        )
        before = next(images)
        server._engine.close()
        is_first_here.set()
        after = list(images)
        assert before.meta[FALLBACK] == "false"
        assert [image.meta[FALLBACK] for image in after] == ["true", "true"]
        assert "the engine was closed" in after[0].meta[NOTE]
        (classical, *_) = sent(server, recipe="cartesian_wavelet")  # the server serves on
        assert classical.data.any()


def test_warming_up_tells_of_models_that_are_not_there(
    models: Path, caplog: pytest.LogCaptureFixture
) -> None:
    network_package(models)
    (models / "universal_d5c5_distilled").mkdir()
    caplog.set_level("INFO", "reconstream")
    with serving() as server:
        server.warm_up()
        images = sent(server)
    assert "model multicoil_cascade@1 is ready" in caplog.text
    assert "universal_d5c5_distilled: expected model.safetensors" in caplog.text
    assert images[0].meta[FALLBACK] == "false"


@pytest.mark.slow
def test_an_engine_process_killed_in_the_middle_costs_at_most_an_image(models: Path) -> None:
    network_package(models)
    is_first_here = threading.Event()
    with Server(port=0, engine_process=True) as server:
        expected = sent(server)
        host, port = server.address
        images = client.send(
            SCAN.header_xml, pausing(is_first_here), "cartesian_cascade", host=host, port=port
        )
        first = next(images)
        (process,) = multiprocessing.active_children()
        process.kill()
        is_first_here.set()
        second, third = images
    if second.meta[FALLBACK] == "true":  # it came before the death was noticed
        assert "the engine's process ended" in second.meta[NOTE]
        second = expected[1]
    assert contents([first, second, third]) == contents(expected)
