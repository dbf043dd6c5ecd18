"""MRD images in HDF5, as the ISMRMRD libraries write and read them."""

from pathlib import Path

import h5py
import ismrmrd
import numpy as np
from ismrmrd.hdf5 import get_hdf5type, image_header_dtype

from pipelines.outputs.writer import ImageWriter, attributes, pixels

_MAX_CHUNK_BYTES = 2**32 - 1


class MrdWriter(ImageWriter):
    """``DIR/stem.h5``: group ``dataset`` with the header in ``xml`` and a group ``image_N`` a series."""

    def __init__(self, directory: Path, stem: str, header_xml: bytes) -> None:
        super().__init__(directory, stem, header_xml)
        self._file: h5py.File | None = None

    def write(self, image: ismrmrd.Image) -> None:
        """Append the image to its series."""
        if self._file is None:
            self._file = h5py.File(self._temporary(".h5"), "w")
            if self.header_xml:
                bytes_dtype = h5py.special_dtype(vlen=bytes)
                self._file["dataset/xml"] = np.array([self.header_xml], dtype=bytes_dtype)
        name = f"dataset/{self._series_name(image)}"
        group = self._file.get(name) or _new_series(self._file, name, image)
        number = len(group["header"])
        for member in group.values():
            member.resize(number + 1, axis=0)
        meta = attributes(image)
        header = image.getHead()
        header.attribute_string_len = len(meta)
        group["header"][number] = np.frombuffer(header, image_header_dtype)[0]
        group["attributes"][number] = meta
        group["data"][number] = pixels(image).view(get_hdf5type(image.data_type))

    def _finish(self) -> None:
        if self._file is not None:
            self._file.close()

    _abandon = _finish


def _new_series(file: h5py.File, name: str, image: ismrmrd.Image) -> h5py.Group:
    group = file.create_group(name)
    shape = image.data.shape
    group.create_dataset("header", (0,), image_header_dtype, maxshape=(None,))
    group.create_dataset("attributes", (0,), h5py.special_dtype(vlen=bytes), maxshape=(None,))
    group.create_dataset(
        "data",
        (0, *shape),
        get_hdf5type(image.data_type),
        maxshape=(None, *shape),
        chunks=(1, *shape) if 0 < image.data.nbytes <= _MAX_CHUNK_BYTES else True,
    )
    return group
