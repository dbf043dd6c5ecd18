"""What is wrong with a model package costs no image."""

from collections.abc import Callable
from pathlib import Path

import pytest

from recon_core.engine.engine import Engine
from recon_core.engine.package import MANIFEST, SIGNATURE, WEIGHTS
from tests.model_packages import network_package, rewrite_manifest
from tests.pipelines.network_scans import assert_fell_back, classical, images_of


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
