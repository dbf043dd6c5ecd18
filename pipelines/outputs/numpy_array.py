"""Images as numpy arrays."""

from pathlib import Path

import ismrmrd
import numpy as np
import numpy.typing as npt

from pipelines.outputs.writer import ImageWriter, pixels


class NumpyWriter(ImageWriter):
    """``DIR/stem.npy``, `(image, channel, z, y, x)`.

    With several series, ``DIR/stem.npz`` with one such array for each: ``image_0``, ``image_1``, …
    """

    def __init__(self, directory: Path, stem: str, header_xml: bytes) -> None:
        super().__init__(directory, stem, header_xml)
        self._images: dict[str, list[npt.NDArray[np.generic]]] = {}

    def write(self, image: ismrmrd.Image) -> None:
        """Keep the image for `close`."""
        self._images.setdefault(self._series_name(image), []).append(pixels(image))

    def _finish(self) -> None:
        series = {name: np.stack(images) for name, images in self._images.items()}
        if len(series) == 1:
            (array,) = series.values()
            with self._temporary(".npy").open("wb") as file:
                np.save(file, array, allow_pickle=False)
        elif series:
            with self._temporary(".npz").open("wb") as file:
                np.savez(file, allow_pickle=False, **series)
