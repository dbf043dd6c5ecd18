"""All images of a scan on one sheet, and heartbeats moving."""

import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import ismrmrd
import numpy as np
import numpy.typing as npt

from pipelines.outputs.cine import write_cine
from pipelines.outputs.writer import ImageWriter

if TYPE_CHECKING:
    from PIL.Image import Image

_MAX_TILES = 256
_GAP = 4
_CAPTION_HEIGHT = 14
_COUNTERS = ("slice", "contrast", "phase", "repetition", "set", "average")


@dataclass(frozen=True)
class _Tile:
    series: int
    place: tuple[int, ...]
    """What tells images apart but their phase."""
    phase: int
    caption: str
    pixels: npt.NDArray[np.float32]
    aspect: float
    """Height of a pixel over its width."""


class PngWriter(ImageWriter):
    """``DIR/stem.png``: every slice of every image as a tile, square pixels, each series with its own window.
    Images that differ in their phase alone become ``DIR/stem_cine_N.gif`` as well.

    The window goes from 0 to the 99.5th percentile, or symmetrically about 0 where a series has negative
    values. Beyond 256 tiles every second, fourth, … one is shown, so that memory and sheet stay bounded.
    """

    def __init__(self, directory: Path, stem: str, header_xml: bytes) -> None:
        super().__init__(directory, stem, header_xml)
        self._tiles: list[_Tile] = []
        self._every = 1
        self._n_seen = 0

    def write(self, image: ismrmrd.Image) -> None:
        """Keep the image's slices for `close`."""
        for channel, volume in enumerate(image.data):
            for z, plane in enumerate(volume):
                if self._n_seen % self._every == 0:
                    self._tiles.append(_tile(image, channel, z, plane))
                self._n_seen += 1
                if len(self._tiles) > _MAX_TILES:
                    self._tiles = self._tiles[::2]
                    self._every *= 2

    def _finish(self) -> None:
        if self._tiles:
            _sheet(self._tiles).save(self._temporary(".png"), format="PNG")
        windows = _windows(self._tiles)
        for number, phases in enumerate(_heartbeats(self._tiles)):
            pictures = [_picture(tile, windows[tile.series]) for tile in phases]
            write_cine(pictures, self._temporary(f"_cine_{number}.gif"))


def _tile(image: ismrmrd.Image, channel: int, z: int, plane: npt.NDArray[np.generic]) -> _Tile:
    counters = [f"{name} {getattr(image, name)}" for name in _COUNTERS if getattr(image, name)]
    counters += [f"z {z}"] * (image.data.shape[1] > 1) + [f"channel {channel}"] * (image.data.shape[0] > 1)
    values = np.abs(plane) if np.iscomplexobj(plane) else plane
    height, width = plane.shape
    fov_x, fov_y = image.field_of_view[:2]
    return _Tile(
        series=image.image_series_index,
        place=(
            image.image_series_index,
            *(getattr(image, name) for name in _COUNTERS if name != "phase"),
            *(z, channel, *plane.shape),
        ),
        phase=image.phase,
        caption=", ".join([f"series {image.image_series_index}", *counters]),
        pixels=np.nan_to_num(values.astype(np.float32), posinf=0, neginf=0),
        aspect=(fov_y / height) / (fov_x / width) if min(fov_x, fov_y, height, width) > 0 else 1.0,
    )


def _heartbeats(tiles: list[_Tile]) -> list[list[_Tile]]:
    """Tiles of several phases of the same place, in their order."""
    by_place: dict[tuple[int, ...], dict[int, _Tile]] = {}
    for tile in tiles:
        by_place.setdefault(tile.place, {})[tile.phase] = tile
    return [[phases[phase] for phase in sorted(phases)] for phases in by_place.values() if len(phases) > 1]


def _windows(tiles: list[_Tile]) -> dict[int, tuple[float, float]]:
    windows = {}
    for series in {tile.series for tile in tiles}:
        values = np.concatenate([tile.pixels.ravel() for tile in tiles if tile.series == series])
        high = float(np.percentile(np.abs(values), 99.5)) or float(np.abs(values).max()) or 1.0
        windows[series] = (-high if (values < 0).any() else 0.0, high)
    return windows


def _picture(tile: _Tile, window: tuple[float, float]) -> "Image":
    from PIL import Image

    low, high = window
    grey = np.clip((tile.pixels - low) / (high - low) * 255, 0, 255).astype(np.uint8)
    picture = Image.fromarray(grey)
    if abs(tile.aspect - 1) < 0.01:
        return picture
    height, width = grey.shape
    size = (width, round(height * tile.aspect)) if tile.aspect > 1 else (round(width / tile.aspect), height)
    return picture.resize((max(size[0], 1), max(size[1], 1)), Image.Resampling.BILINEAR)


def _sheet(tiles: list[_Tile]) -> "Image":
    from PIL import Image, ImageDraw

    windows = _windows(tiles)
    pictures = [_picture(tile, windows[tile.series]) for tile in tiles]
    width = max(picture.width for picture in pictures) + _GAP
    height = max(picture.height for picture in pictures) + _CAPTION_HEIGHT + _GAP
    n_columns = min(math.ceil(math.sqrt(len(tiles) * height / width)), len(tiles))
    n_rows = math.ceil(len(tiles) / n_columns)
    sheet = Image.new("L", (n_columns * width + _GAP, n_rows * height + _GAP), 0)
    draw = ImageDraw.Draw(sheet)
    for number, (tile, picture) in enumerate(zip(tiles, pictures, strict=True)):
        row, column = divmod(number, n_columns)
        left, top = column * width + _GAP, row * height + _GAP
        if draw.textlength(tile.caption) <= width - _GAP:
            draw.text((left, top), tile.caption, fill=160)
        sheet.paste(picture, (left, top + _CAPTION_HEIGHT))
    return sheet
