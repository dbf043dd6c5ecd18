"""MRD images as the stream a server sends: header, images, CLOSE."""

import struct
from pathlib import Path
from typing import BinaryIO

import ismrmrd

from pipelines.messages import MessageId
from pipelines.outputs.writer import ImageWriter, attributes, pixels


class StreamWriter(ImageWriter):
    """``DIR/stem.mrd``, which `ismrmrd.serialization.ProtocolDeserializer` reads."""

    def __init__(self, directory: Path, stem: str, header_xml: bytes) -> None:
        super().__init__(directory, stem, header_xml)
        self._file: BinaryIO | None = None

    def write(self, image: ismrmrd.Image) -> None:
        """Append the image."""
        if self._file is None:
            self._file = self._temporary(".mrd").open("wb")
            if self.header_xml:
                self._file.write(struct.pack("<HI", MessageId.HEADER, len(self.header_xml)) + self.header_xml)
        meta = attributes(image)
        header = image.getHead()
        header.attribute_string_len = len(meta)
        self._file.write(struct.pack("<H", MessageId.IMAGE) + bytes(header))
        self._file.write(struct.pack("<Q", len(meta)) + meta)
        self._file.write(pixels(image).tobytes())

    def _finish(self) -> None:
        if self._file is not None:
            self._file.write(struct.pack("<H", MessageId.CLOSE))
            self._file.close()

    def _abandon(self) -> None:
        if self._file is not None:
            self._file.close()
