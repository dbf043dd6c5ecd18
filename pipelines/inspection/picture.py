"""Pictures of the sampling: a PNG of every image's lines, and a few characters for the terminal."""

from pathlib import Path

import numpy as np
import numpy.typing as npt

from gadgets.encoding import Encoding
from gadgets.records import FLAG_BITS, Readouts
from pipelines.inspection.sampling import Headers, Mask, image_masks
from pipelines.mrd_header import header_from_xml
from pipelines.sources import open_scan
from recon_core.errors import InputError

_CALIBRATION_FLAGS = ("IS_PARALLEL_CALIBRATION", "IS_PARALLEL_CALIBRATION_AND_IMAGING")
_ROW_HEIGHT = 6
_MAX_IMAGES = 256
_TRAJECTORY_SIZE = 512

Rgb = npt.NDArray[np.uint8]


def sampling_picture(path: Path | str, destination: Path | str, dataset: str | None = None) -> Path:
    """Write a PNG of the lines each image of the first encoding has; returns its path.

    Cartesian 2-D: one row an image, ky from left to right. 3-D: one tile an image, ky to the right, kz down.
    White lines are imaging, blue ones calibration, light blue ones both; at most 256 images are shown. Other
    trajectories: where samples lie in (kx, ky), brighter where there are more of them.
    Raises InputError for a file without readouts.
    """
    from PIL import Image

    scan, headers, points = open_scan(path, dataset), [], []
    for item in scan.items():
        if isinstance(item, Readouts):
            in_space = item.headers["encoding_space_ref"] == 0
            readouts = item.select(in_space & ~item.flagged("IS_NOISE_MEASUREMENT"))
            headers.append(readouts.headers)
            if readouts.trajectory.shape[2] >= 2:
                points.append(readouts.trajectory[..., :2].reshape(-1, 2))
    if not sum(map(len, headers)):
        raise InputError(f"{path}: expected readouts, got none; there is no sampling to show")
    encoding = Encoding.from_header(header_from_xml(scan.header_xml))
    is_cartesian = encoding.trajectory == "cartesian"
    picture = _lines(encoding, np.concatenate(headers)) if is_cartesian else _trajectory(points)
    Image.fromarray(picture).save(destination, format="PNG")
    return Path(destination)


def _lines(encoding: Encoding, headers: Headers) -> Rgb:
    only, both = (headers["flags"] & FLAG_BITS[name] != 0 for name in _CALIBRATION_FLAGS)
    imaging = image_masks(encoding, headers[~only | both])
    calibration = image_masks(encoding, headers[only | both])
    tiles = []
    for key in sorted({*imaging, *calibration})[:_MAX_IMAGES]:
        nothing = np.zeros(encoding.encoded_matrix[:0:-1], np.bool_)
        tiles.append(_coloured(imaging.get(key, nothing), calibration.get(key, nothing)))
    if not tiles:
        raise InputError("sampling: expected lines inside the encoded matrix, got none; correct the header")
    if encoding.encoded_matrix[2] == 1:
        return np.concatenate([_framed(np.repeat(tile, _ROW_HEIGHT, axis=0)) for tile in tiles])
    n_columns = int(np.ceil(np.sqrt(len(tiles))))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % n_columns)
    rows = [tiles[start : start + n_columns] for start in range(0, len(tiles), n_columns)]
    return np.concatenate([np.concatenate([_framed(tile) for tile in row], axis=1) for row in rows])


def _coloured(imaging: Mask, calibration: Mask) -> Rgb:
    picture = np.full((*imaging.shape, 3), 24, np.uint8)
    picture[imaging] = 255, 255, 255
    picture[calibration] = 40, 90, 255
    picture[imaging & calibration] = 150, 190, 255
    return picture


def _framed(tile: Rgb) -> Rgb:
    return np.pad(tile, ((1, 1), (1, 1), (0, 0)), constant_values=90)


def _trajectory(points: list[npt.NDArray[np.float32]]) -> Rgb:
    if not points:
        raise InputError(
            "sampling: expected a trajectory in the readouts, got none; there is nothing to show"
        )
    places = np.concatenate(points)
    largest = float(np.abs(places).max()) or 1.0
    index = np.clip((places / largest + 1) / 2 * (_TRAJECTORY_SIZE - 1), 0, _TRAJECTORY_SIZE - 1).astype(int)
    density = np.zeros((_TRAJECTORY_SIZE, _TRAJECTORY_SIZE))
    np.add.at(density, (index[:, 1], index[:, 0]), 1)
    brightness = np.log1p(density) / np.log1p(density.max()) * 255
    return np.repeat(brightness[..., None].astype(np.uint8), 3, axis=2)


def sampling_text(mask: Mask, width: int = 96) -> list[str]:
    """`(kz, ky)` in characters, several lines a character where they are too many: █ all, ▒ some, · none."""
    n_z, n_y = mask.shape
    along_y = np.array_split(np.arange(n_y), min(n_y, width))
    along_z = np.array_split(np.arange(n_z), min(n_z, width // 4))
    shares = [[float(mask[np.ix_(z, y)].mean()) for y in along_y] for z in along_z]
    return ["".join("█" if share == 1 else "▒" if share else "·" for share in row) for row in shares]
