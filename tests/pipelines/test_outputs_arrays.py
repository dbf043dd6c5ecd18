"""numpy and PNG output hold the pixels that were given."""

from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from pipelines.outputs import write_all


def image(array: np.ndarray[tuple[int, ...], np.dtype[np.generic]], **header: object) -> ismrmrd.Image:
    return ismrmrd.Image.from_array(array, **header)


def test_one_series_becomes_one_array(tmp_path: Path) -> None:
    arrays = [np.full((1, 1, 3, 4), n + 1j, np.complex64) for n in range(3)]
    (path,) = write_all([image(a) for a in arrays], tmp_path, "scan", b"", ["npy"])
    assert path == tmp_path / "scan.npy"
    assert np.array_equal(np.load(path), np.stack(arrays))


def test_several_series_become_named_arrays(tmp_path: Path) -> None:
    arrays = {0: np.ones((1, 1, 3, 4), np.float32), 7: np.ones((2, 1, 5, 5), np.uint16)}
    images = [image(array, image_series_index=series) for series, array in arrays.items()]
    (path,) = write_all(images, tmp_path, "scan", b"", ["npy"])
    with np.load(path) as loaded:
        assert set(loaded) == {"image_0", "image_7"}
        assert np.array_equal(loaded["image_7"][0], arrays[7])


def sheet(path: Path) -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    from PIL import Image

    with Image.open(path) as picture:
        return np.asarray(picture)


def test_a_tile_shows_the_magnitude_from_zero_to_its_window(tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 64 * 64).reshape(64, 64)
    (path,) = write_all([image((ramp * 1j).astype(np.complex64))], tmp_path, "scan", b"", ["png"])
    shown = sheet(path)
    tile = shown[-68:-4, 4:68]
    expected = np.clip(ramp / np.percentile(ramp, 99.5) * 255, 0, 255).astype(np.uint8)
    assert np.abs(tile.astype(int) - expected).max() <= 1


def test_every_slice_has_its_tile_and_the_sheet_is_not_a_strip(tmp_path: Path) -> None:
    images = [image(np.ones((1, 3, 40, 40), np.float32), slice=s) for s in range(4)]
    (path,) = write_all(images, tmp_path, "scan", b"", ["png"])
    shown = sheet(path)
    assert (shown == 255).sum() == 12 * 40 * 40
    assert 0.4 < shown.shape[0] / shown.shape[1] < 2.5


def test_series_are_windowed_apart_and_signed_ones_about_zero(tmp_path: Path) -> None:
    faint, signed = np.full((40, 40), 1e-3, np.float32), np.full((40, 40), -5.0, np.float32)
    images = [image(faint), image(signed, image_series_index=1)]
    (path,) = write_all(images, tmp_path, "scan", b"", ["png"])
    shown = sheet(path)
    assert (shown == 255).sum() == 1600
    images[1] = image(np.concatenate([signed[:20], -signed[:20]]), image_series_index=1)
    (path,) = write_all(images, tmp_path, "scan", b"", ["png"])
    assert (sheet(path) == 255).sum() == 1600 + 800


def test_pixels_are_shown_square(tmp_path: Path) -> None:
    tall = image(np.ones((1, 1, 50, 100), np.float32), field_of_view=(100, 100, 5))
    (path,) = write_all([tall], tmp_path, "scan", b"", ["png"])
    assert (sheet(path) == 255).sum() == 100 * 100


@pytest.mark.parametrize("value", [0.0, np.nan, np.inf])
def test_images_without_contrast_still_make_a_sheet(tmp_path: Path, value: float) -> None:
    (path,) = write_all([image(np.full((8, 8), value, np.float32))], tmp_path, "scan", b"", ["png"])
    assert sheet(path).max() == 0 or sheet(path).shape[0] > 8


def test_the_sheet_stays_bounded(tmp_path: Path) -> None:
    many = (image(np.ones((8, 8), np.float32), repetition=r % 65536) for r in range(3000))
    (path,) = write_all(many, tmp_path, "scan", b"", ["png"])
    assert 128 * 64 <= (sheet(path) == 255).sum() <= 256 * 64
