"""What every writer of images does: take them one at a time, and show files only when they are whole."""

import os
from abc import ABC, abstractmethod
from pathlib import Path
from types import TracebackType
from typing import Self

import ismrmrd
import numpy as np
import numpy.typing as npt

from recon_core.errors import InputError


class ImageWriter(ABC):
    """Writes the images of one scan to files named after `stem` in `directory`, replacing what is there.

    Until `close` the files have temporary, hidden names: an interrupted run leaves nothing that looks whole.
    As a context manager it closes when all went well and discards when not.
    """

    def __init__(self, directory: Path, stem: str, header_xml: bytes) -> None:
        self.header_xml = header_xml.rstrip(b"\0")
        self._directory = directory
        self._stem = stem
        self._files: dict[Path, Path] = {}
        self._series: dict[tuple[object, ...], str] = {}

    @abstractmethod
    def write(self, image: ismrmrd.Image) -> None:
        """Take the next image."""

    def close(self) -> list[Path]:
        """Give the files their names and return these; none when there was no image."""
        self._finish()
        for temporary, final in self._files.items():
            final.parent.mkdir(exist_ok=True)
            temporary.replace(final)
        return list(self._files.values())

    def discard(self) -> None:
        """Remove what was written."""
        self._abandon()
        for temporary in self._files:
            temporary.unlink(missing_ok=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self.discard()

    def _finish(self) -> None:  # noqa: B027 - some writers have nothing left to do
        """Write what can only be written at the end."""

    def _abandon(self) -> None:  # noqa: B027
        """Let go of open files."""

    def _temporary(self, ending: str) -> Path:
        """Where to write the file that will be called stem + ending, which may lie in a folder."""
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"{self._directory}: expected a directory for the images, got: {error.strerror}; "
                "choose another"
            ) from error
        final = self._directory / f"{self._stem}{ending}"
        flat = f"{self._stem}{ending}".replace("/", "_")
        temporary = self._directory / f".{flat}.{os.getpid()}.partial"
        self._files[temporary] = final
        return temporary

    def _series_name(self, image: ismrmrd.Image) -> str:
        """``image_0`` for series 0; ``image_0_1`` for those of its images that have another shape or type."""
        number = image.image_series_index
        kinds = [key for key in self._series if key[0] == number]
        key = (number, image.data.shape, image.data_type)
        if key not in self._series:
            self._series[key] = f"image_{number}_{len(kinds)}" if kinds else f"image_{number}"
        return self._series[key]


def pixels(image: ismrmrd.Image) -> npt.NDArray[np.generic]:
    """`(channel, z, y, x)` in the type MRD states: ismrmrd holds its 32-bit integers in 64."""
    data: npt.NDArray[np.generic] = image.data
    return data.astype(np.int32) if image.data_type == ismrmrd.DATATYPE_INT else data


def attributes(image: ismrmrd.Image) -> bytes:
    """The meta attributes as ASCII XML, which every reader decodes alike, without the NULs that break it."""
    text: str = image.attribute_string
    return text.replace("\0", "").encode("ascii", "xmlcharrefreplace")
