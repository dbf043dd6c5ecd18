"""Heartbeats as moving pictures beside the sheet of all images."""

from pathlib import Path

import ismrmrd
import numpy as np
from PIL import Image

from pipelines.outputs import write_all

N_PHASES = 5


def heartbeat(slice_: int = 0) -> list[ismrmrd.Image]:
    """A bright pixel that moves along x with the phase, the last phase first."""
    images = []
    for phase in reversed(range(N_PHASES)):
        pixels = np.zeros((1, 1, 8, 8), np.float32)
        pixels[0, 0, 2, 1 + phase] = 100
        image = ismrmrd.Image.from_array(pixels, transpose=False)
        image.phase, image.slice = phase, slice_
        image.field_of_view[:] = 8, 8, 1
        images.append(image)
    return images


def test_phases_of_each_slice_move_in_their_order(tmp_path: Path) -> None:
    paths = write_all([*heartbeat(0), *heartbeat(1)], tmp_path, "scan", b"", ("png",))
    assert [path.name for path in paths] == ["scan.png", "scan_cine_0.gif", "scan_cine_1.gif"]
    with Image.open(paths[1]) as cine:
        assert cine.n_frames == N_PHASES
        assert cine.info["duration"] == 200
        for phase in range(N_PHASES):
            cine.seek(phase)
            frame = np.asarray(cine.convert("L"))
            assert np.unravel_index(frame.argmax(), frame.shape) == (2, 1 + phase)


def test_images_without_phases_stand_still(tmp_path: Path) -> None:
    (path,) = write_all(heartbeat()[:1], tmp_path, "scan", b"", ("png",))
    assert path.name == "scan.png"
