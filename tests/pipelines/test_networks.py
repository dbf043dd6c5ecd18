"""Recipes with networks: an image always comes, and says which network made it, or why none did."""

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest
import torch

from gadgets.mrd_images import FALLBACK, NOTE
from gadgets.reconstructed import METHOD
from gadgets.records import Readouts
from pipelines.importers.cartesian import cartesian_scan
from pipelines.recipe import recipe_by_name
from pipelines.reconstruction import reconstruct_scan
from pipelines.simulated_scan import simulated_scan
from pipelines.sources import Scan
from recon_core.engine.engine import Engine
from recon_core.engine.package import MANIFEST, SIGNATURE, WEIGHTS
from recon_core.engine.store import ModelStore
from recon_core.errors import GadgetError
from recon_core.fourier import fft, ifft
from recon_core.masks import poisson_disc
from recon_core.nets.calibrated_cascade import CalibratedCascadeNetwork
from recon_core.nets.undersampled import Undersampled
from recon_core.simulate import simulate_acquisition
from tests.gadgets.small_scan import head_volume, random_complex
from tests.model_packages import network_package, rewrite_manifest
from tests.pipelines.serving import contents

SIMULATION = simulate_acquisition((48, 48), 4)
SCAN = simulated_scan(SIMULATION, acceleration=2, n_calibration_lines=16)
THREE_SLICES = simulated_scan(
    simulate_acquisition((48, 48), 4, n_slices=3), acceleration=2, n_calibration_lines=16
)
CASCADE = "multicoil_cascade"


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    """An engine whose packages lie in `tmp_path`."""
    with Engine(store=ModelStore(tmp_path, tmp_path / "added")) as running:
        yield running


def images_of(
    engine: Engine,
    scan: Scan = SCAN,
    recipe: str = "cartesian_cascade",
    items: Iterable[Any] = (),
    **set_: Any,
) -> list[ismrmrd.Image]:
    parameters = {f"NetworkReconstruction.{name}": value for name, value in set_.items()}
    chosen = recipe_by_name(recipe).with_parameters(parameters)
    return list(reconstruct_scan(chosen, scan.header_xml, items or scan.items(), engine=engine))


@cache
def classical(recipe: str = "cartesian_wavelet", scan: Scan = SCAN) -> list[ismrmrd.Image]:
    return list(reconstruct_scan(recipe_by_name(recipe), scan.header_xml, scan.items()))


def note_of(image: ismrmrd.Image) -> str:
    notes = image.meta[NOTE]
    return notes if isinstance(notes, str) else "\n".join(notes)


def assert_is_network(image: ismrmrd.Image) -> None:
    assert image.meta[FALLBACK] == "false"
    assert image.meta[METHOD] == f"network {CASCADE}@1"
    assert NOTE not in image.meta
    assert "SeriesDescription" not in image.meta


def assert_fell_back(image: ismrmrd.Image, expected: ismrmrd.Image, reason: str) -> None:
    """The pixels of the classical recipe, and three places that say so."""
    assert np.array_equal(image.data, expected.data)
    method = expected.meta[METHOD]
    assert image.meta[METHOD] == method
    assert image.meta[FALLBACK] == "true"
    assert image.meta["SeriesDescription"] == f"(fallback: {method})"
    assert reason in note_of(image)
    assert note_of(image).endswith(f"fallback: {method}")
    assert note_of(image).split("\n")[-1] in image.meta["ImageComments"]
    assert "Reconstream.Model" not in image.meta


# The network's image


def test_an_image_of_a_network_names_it(engine: Engine, tmp_path: Path) -> None:
    package = network_package(tmp_path)
    images = images_of(engine, THREE_SLICES)
    assert len(images) == 3
    for image in images:
        assert_is_network(image)
        assert image.meta["Reconstream.Model"] == "multicoil_cascade@1"
        assert image.meta["Reconstream.ModelHash"] == package.hash
        assert image.meta["Reconstream.Precision"] == "float32"
        assert image.meta["Reconstream.Unchecked"] == ["contrast"]


def test_more_coils_than_the_network_takes_are_compressed(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    many = simulated_scan(simulate_acquisition((48, 48), 10), acceleration=2, n_calibration_lines=16)
    (image,) = images_of(engine, many)
    assert_is_network(image)


def test_a_network_that_learned_nothing_zero_fills_a_single_coil(engine: Engine, tmp_path: Path) -> None:
    """Without weights D5C5 is data consistency alone: what was measured, and zeros."""
    network_package(tmp_path, "d5c5", weights=torch.zeros_like)
    one_coil = simulated_scan(simulate_acquisition((40, 36), 1), acceleration=2, n_calibration_lines=16)
    (image,) = images_of(engine, one_coil, "cartesian_universal", anatomy="knee")
    (expected,) = classical("cartesian_fft", one_coil)
    assert image.meta["Reconstream.Model"] == "universal_d5c5@1"
    assert np.abs(image.data - expected.data).max() < 1e-5 * expected.data.max()


def test_a_volume_goes_through_the_network_slice_by_slice_across_the_readout(
    engine: Engine, tmp_path: Path
) -> None:
    network_package(tmp_path, "d5c5", weights=torch.zeros_like, noise_level=(0, 10))
    scan, zero_filled = volume(np.random.default_rng(0).random((15, 18)) < 0.5)
    (image,) = images_of(engine, scan, "cartesian_universal", anatomy="brain")
    assert image.meta[FALLBACK] == "false"
    assert np.abs(image.data[0] - np.abs(zero_filled)).max() < 1e-5 * np.abs(zero_filled).max()


def test_a_volume_goes_through_slice_by_slice_as_it_is_where_all_partitions_have_the_same_lines(
    engine: Engine, tmp_path: Path
) -> None:
    network_package(tmp_path, "d5c5", weights=torch.zeros_like, noise_level=(0, 10), masks=("random_lines",))
    lines = np.random.default_rng(0).random(18) < 0.5
    scan, zero_filled = volume(np.broadcast_to(lines, (15, 18)))
    (image,) = images_of(engine, scan, "cartesian_universal", anatomy="brain")
    assert image.meta[FALLBACK] == "false"
    assert np.abs(image.data[0] - np.abs(zero_filled)).max() < 1e-5 * np.abs(zero_filled).max()


def test_every_slice_of_a_volume_is_that_of_the_network_alone(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path, "d5c5", noise_level=(0, 10))
    sampled = np.random.default_rng(0).random((15, 18)) < 0.5
    scan, _ = volume(sampled)
    (image,) = images_of(engine, scan, "cartesian_universal", anatomy="brain")
    across = np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(volume_kspace(sampled), 2), norm="ortho"), 2)
    for x in (0, 11):
        alone = Undersampled(
            kspace=torch.from_numpy(across[None, None, :, :, x].astype(np.complex64)),
            sampled=torch.from_numpy(sampled[None]),
        )
        expected = engine.reconstruct("universal_d5c5", alone, anatomy="brain").image[0].abs().numpy()
        assert np.allclose(image.data[0, :, :, x], expected, rtol=1e-3, atol=1e-5 * expected.max())


def test_partitions_without_an_object_do_not_keep_a_volume_from_the_network(
    engine: Engine, tmp_path: Path
) -> None:
    """Ends of the readout that see air are all noise, as no slice is that a network was trained on."""
    network_package(tmp_path)
    head, _ = head_volume(4, (20, 22, 24))
    kspace = fft(torch.nn.functional.pad(ifft(head), (6, 6)))
    kspace += torch.from_numpy(1e-3 * random_complex(kspace.shape))
    sampled = poisson_disc((20, 22), 1.6, calibration=(14, 14))
    scan = cartesian_scan((kspace * sampled[..., None]).numpy(), "coil kz ky kx", where="volume")
    (image,) = images_of(engine, scan)
    assert image.meta[FALLBACK] == "false"
    assert image.data.shape == (1, 20, 22, 36)
    assert image.data[..., :4].max() < 0.05 * image.data.max()


def test_a_volume_is_asked_for_a_few_slices_at_a_time_after_all_have_passed_the_gate(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that its time limit does not depend on its size, and no session has to wait for all of it."""
    network_package(tmp_path, "d5c5", noise_level=(0, 10))
    asked: list[int] = []
    reconstruct = Engine.reconstruct

    def counted(self: Engine, model: str, undersampled: Undersampled, **settings: Any) -> Any:
        asked.append(len(undersampled))
        return reconstruct(self, model, undersampled, **settings)

    monkeypatch.setattr(Engine, "reconstruct", counted)
    scan, _ = volume(np.random.default_rng(0).random((15, 18)) < 0.5)
    (image,) = images_of(engine, scan, "cartesian_universal", anatomy="brain")
    assert image.meta[FALLBACK] == "false"
    assert asked == [8, 8, 5]

    asked.clear()
    (image,) = images_of(engine, scan, "cartesian_universal", anatomy="foot")
    assert "anatomy 'foot' is none of brain, knee" in note_of(image)
    assert asked == []


def volume_kspace(sampled: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """(kz, ky, kx), of odd and unequal sizes."""
    rng = np.random.default_rng(1)
    noise = rng.standard_normal((*sampled.shape, 21)) + 1j * rng.standard_normal((*sampled.shape, 21))
    return noise.astype(np.complex64) * sampled[..., None]


def volume(sampled: np.ndarray[Any, Any]) -> tuple[Scan, np.ndarray[Any, Any]]:
    """A single-coil volume with these lines, `(kz, ky)`, and its zero-filled image."""
    kspace = volume_kspace(sampled)
    image = np.fft.fftshift(np.fft.ifftn(np.fft.ifftshift(kspace), norm="ortho"))
    return cartesian_scan(kspace[None], "coil kz ky kx", where="volume"), image


# What is wrong with the package


def flip_a_bit(folder: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-5] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def truncate(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-100])


def swap_weights(folder: Path) -> None:
    other = network_package(folder.parent / "elsewhere", seed=1)
    (folder / WEIGHTS).write_bytes((other.folder / WEIGHTS).read_bytes())


def edit_unsigned(folder: Path) -> None:
    (folder / MANIFEST).write_text((folder / MANIFEST).read_text().replace("untrained", "well trained"))


def unsign(folder: Path) -> None:
    (folder / SIGNATURE).unlink()


def change_fft(folder: Path) -> None:
    rewrite_manifest(folder, "centred-orthonormal", "uncentred")


def change_coils(folder: Path) -> None:
    rewrite_manifest(folder, "n_coils = [1, 8]", "n_coils = [12, 16]")


def rename(folder: Path) -> None:
    folder.rename(folder.with_name("other"))


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (flip_a_bit, "these are not the weights that the manifest was written for"),
        (truncate, "these are not the weights that the manifest was written for"),
        (swap_weights, "these are not the weights that the manifest was written for"),
        (edit_unsigned, "it was changed or damaged"),
        (unsign, "expected model.safetensors, model.toml and model.sha256"),
        (change_fft, "fft: expected 'centred-orthonormal', got 'uncentred'"),
        (change_coils, "number of coils 4 is outside 12 to 16"),
        (rename, "expected one of those there are (other)"),
    ],
)
def test_a_package_that_cannot_be_used_gives_the_classical_image(
    engine: Engine,
    tmp_path: Path,
    spoil: Callable[[Path], None],
    reason: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    spoil(network_package(tmp_path).folder)
    for image, expected in zip(images_of(engine), classical(), strict=True):
        assert_fell_back(image, expected, reason)
    assert caplog.text.count(reason) == 1


# What is wrong with the scan


FOOT = replace(SCAN, header_xml=SCAN.header_xml.replace(b"HEAD", b"FOOT"))


def test_a_scan_of_another_anatomy_than_the_networks_gives_the_classical_image(
    engine: Engine, tmp_path: Path
) -> None:
    network_package(tmp_path, anatomies=("knee",))
    for image, expected in zip(images_of(engine, FOOT), classical(), strict=True):
        assert_fell_back(image, expected, "anatomy 'foot' is none of knee")


def test_a_network_for_several_anatomies_takes_another_and_says_so(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    for image in images_of(engine, FOOT):
        assert_is_network(image)
        assert image.meta["Reconstream.Unchecked"] == ["anatomy 'foot'", "contrast"]


def test_what_the_gate_refuses_goes_to_the_network_where_the_recipe_allows_it_and_is_noted(
    engine: Engine, tmp_path: Path
) -> None:
    network_package(tmp_path, anatomies=("knee",))
    for image in images_of(engine, FOOT, allow_out_of_range=True):
        assert image.meta[FALLBACK] == "false"
        assert image.meta["Reconstream.Model"] == "multicoil_cascade@1"
        assert "multicoil_cascade@1': anatomy 'foot' is none of knee" in note_of(image)


def test_an_anatomy_that_nobody_tells_is_asked_for(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path, "d5c5")
    silent = replace(SCAN, header_xml=SCAN.header_xml.replace(b"HEAD", b""))
    for image, expected in zip(images_of(engine, silent, "cartesian_universal"), classical(), strict=True):
        assert_fell_back(image, expected, "expected an anatomy of brain, knee")
        assert "set NetworkReconstruction.anatomy" in note_of(image)


def test_acceleration_30_gives_the_classical_image(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path, n_coils=(1, 1))
    one_coil = simulated_scan(simulate_acquisition((64, 64), 1), acceleration=30, n_calibration_lines=0)
    (image,) = images_of(engine, one_coil)
    assert image.meta[METHOD] == "wavelet SENSE"
    assert image.meta[FALLBACK] == "true"
    assert "acceleration 21.33 is outside 1.2 to 5" in note_of(image)


def test_too_few_calibration_lines_for_maps_leave_a_zero_filled_image(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    sparse = simulated_scan(SIMULATION, acceleration=30, n_calibration_lines=2)
    for image, expected in zip(images_of(engine, sparse), classical("cartesian_fft", sparse), strict=True):
        assert_fell_back(image, expected, "give more calibration lines")


@pytest.mark.parametrize("n_lines", [5, 10])
def test_too_few_calibration_lines_for_a_network_leave_wavelet_sense(
    engine: Engine, tmp_path: Path, n_lines: int
) -> None:
    network_package(tmp_path)
    sparse = simulated_scan(SIMULATION, acceleration=4, n_calibration_lines=n_lines)
    for image, expected in zip(
        images_of(engine, sparse), classical("cartesian_wavelet", sparse), strict=True
    ):
        assert_fell_back(image, expected, f"expected at least 11 calibration lines, got {n_lines}")


def test_full_sampling_is_left_to_the_fourier_transform(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    full = simulated_scan(SIMULATION)
    for image, expected in zip(images_of(engine, full), classical("cartesian_fft", full), strict=True):
        assert_fell_back(image, expected, "acceleration 1 is outside 1.2 to 5")


def test_a_zero_filled_edge_beyond_the_kernel_is_left_to_partial_fourier(
    engine: Engine, tmp_path: Path
) -> None:
    """Lines 0 to 39 of 48 about line 16: eight never come."""
    network_package(tmp_path)
    for n_missing, is_used in ((7, True), (8, False)):
        scan = partial_fourier(n_missing)
        images = images_of(engine, scan)
        for image, expected in zip(images, classical("cartesian_wavelet", scan), strict=True):
            if is_used:
                assert image.meta[FALLBACK] == "false"
            else:
                reason = "expected k-space acquired to its edges, got 8 of 48 samples empty at one end of ky"
                assert_fell_back(image, expected, reason)
                assert image.meta["Reconstream.PartialFourier"] == "pocs along ky"


def partial_fourier(n_missing: int) -> Scan:
    limits = b"<maximum>47</maximum><center>24</center>"
    fewer = f"<minimum>{n_missing}</minimum>".encode() + limits
    header_xml = SCAN.header_xml.replace(b"<minimum>0</minimum>" + limits, fewer)
    assert header_xml != SCAN.header_xml

    def items() -> Iterator[Readouts]:
        noise, *slices = SCAN.items()
        yield noise
        yield from (
            block.select(block.headers["idx"]["kspace_encode_step_1"] >= n_missing) for block in slices
        )

    return Scan(header_xml, items)


def test_a_volume_without_a_fully_sampled_axis_gives_the_classical_image(
    engine: Engine, tmp_path: Path
) -> None:
    network_package(tmp_path, "d5c5")
    header, blocks = volume(np.random.default_rng(0).random((15, 18)) < 0.5)[0], []
    for block in header.items():
        headers = block.headers.copy()
        headers["number_of_samples"] -= 9  # an asymmetric echo: the last samples are not there
        blocks.append(
            replace(block, headers=headers, data=block.data[..., :-9], trajectory=block.trajectory[:, :-9])
        )
    (image,) = images_of(engine, header, "cartesian_universal", blocks, anatomy="brain")
    assert image.meta[FALLBACK] == "true"
    assert "expected kz or kx to be fully sampled" in note_of(image)


def test_a_scan_without_anything_to_reconstruct_is_a_clear_error(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    noise, *_ = SCAN.items()
    with pytest.raises(GadgetError, match="recipe 'cartesian_cascade', gadget Accumulate"):
        images_of(engine, items=[noise])


# What goes wrong while it runs


def test_values_that_are_not_finite_give_the_classical_image(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path, weights=lambda drawn: torch.full_like(drawn, 1e30))
    images = images_of(engine, THREE_SLICES)
    for image, expected in zip(images[:2], classical(scan=THREE_SLICES), strict=False):
        assert_fell_back(image, expected, "the network gave values that are not finite")
    assert_fell_back(images[2], classical(scan=THREE_SLICES)[2], "failed before in this scan")


def failing(monkeypatch: pytest.MonkeyPatch, fails: Callable[[int], BaseException | None]) -> None:
    """The network raises what `fails` gives for the number of its call."""
    forward, calls = CalibratedCascadeNetwork.forward, iter(range(1000))

    def patched(self: Any, *arguments: Any) -> torch.Tensor:
        if (error := fails(next(calls))) is not None:
            raise error
        return forward(self, *arguments)

    monkeypatch.setattr(CalibratedCascadeNetwork, "forward", patched)


def out_of_memory() -> RuntimeError:
    return torch.OutOfMemoryError("CUDA out of memory")


def test_memory_that_runs_out_once_is_made_do_with(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_package(tmp_path)
    expected = [image.data for image in images_of(engine, THREE_SLICES)]
    failing(monkeypatch, lambda call: out_of_memory() if call == 1 else None)
    for image, data in zip(images_of(engine, THREE_SLICES), expected, strict=True):
        assert_is_network(image)
        assert np.allclose(image.data, data, rtol=1e-4, atol=1e-4 * data.max())


def test_memory_that_runs_out_in_the_middle_of_a_scan_costs_one_image(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_package(tmp_path)
    failing(monkeypatch, lambda call: out_of_memory() if call in (1, 2) else None)
    first, second, third = images_of(engine, THREE_SLICES)
    assert_is_network(first)
    assert_fell_back(second, classical(scan=THREE_SLICES)[1], "out of memory for a slice of 48 x 48, 4 coils")
    assert_is_network(third)


def test_an_engine_that_ends_in_the_middle_of_a_scan_costs_the_images_to_come(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_package(tmp_path)
    failing(monkeypatch, lambda call: SystemExit("killed") if call == 1 else None)
    expected = classical(scan=THREE_SLICES)
    first, second, third = images_of(engine, THREE_SLICES)
    assert_is_network(first)
    assert_fell_back(second, expected[1], "the engine's worker ended: SystemExit: killed")
    assert_fell_back(third, expected[2], "the engine's worker ended: SystemExit: killed")


def test_a_network_that_hangs_is_waited_for_twice_and_asked_no_more(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network_package(tmp_path)
    released = threading.Event()

    def hangs(_call: int) -> None:
        assert released.wait(30)

    failing(monkeypatch, hangs)  # type: ignore[arg-type]
    try:
        images = images_of(engine, THREE_SLICES, timeout_s=0.2)
    finally:
        released.set()
    reasons = ["no image within 0.2 s", "no image within 0.2 s", "failed before in this scan"]
    for image, expected, reason in zip(images, classical(scan=THREE_SLICES), reasons, strict=True):
        assert_fell_back(image, expected, reason)


def test_two_scans_at_once_get_what_each_gets_alone(engine: Engine, tmp_path: Path) -> None:
    network_package(tmp_path)
    other = simulated_scan(
        simulate_acquisition((48, 48), 4, n_slices=2, seed=1), acceleration=3, n_calibration_lines=16
    )
    alone = [contents(images_of(engine, scan)) for scan in (THREE_SLICES, other)]
    together: list[Any] = [None, None]

    def reconstructs(number: int, scan: Scan) -> None:
        together[number] = contents(images_of(engine, scan))

    threads = [
        threading.Thread(target=reconstructs, args=(i, scan)) for i, scan in enumerate((THREE_SLICES, other))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert together == alone
