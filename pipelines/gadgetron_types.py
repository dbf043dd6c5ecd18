"""From what Gadgetron's chain carries to our records, at the border between the two."""

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

import ismrmrd
import numpy as np
import numpy.typing as npt
import torch

from gadgets.encoding import Encoding
from gadgets.mrd_images import from_mrd
from gadgets.records import ImageSeries, KSpace, Readouts
from pipelines.gadgetron_messages import Buffer, ImageArray, ReconBit, ReconData
from recon_core.calibration import calibration_block
from recon_core.errors import StreamError


def header_as_received(header_xml: bytes, readouts: Readouts) -> bytes:
    """The MRD header with the readout matrix that `readouts` have.

    Gadgetron's header says nothing of oversampling that a gadget before us has removed. It was removed when
    no sample lies further from the centre of k-space than the smaller matrix reaches.
    """
    head = readouts.headers[-1]
    center, n_samples = int(head["center_sample"]), int(head["number_of_samples"])
    root = ElementTree.fromstring(header_xml)
    for encoding in root.iterfind("{*}encoding"):
        matrix_x, fov_x, wanted_fov_x = (
            encoding.find(path)
            for path in (
                "{*}encodedSpace/{*}matrixSize/{*}x",
                "{*}encodedSpace/{*}fieldOfView_mm/{*}x",
                "{*}reconSpace/{*}fieldOfView_mm/{*}x",
            )
        )
        if matrix_x is None or fov_x is None or wanted_fov_x is None:
            continue
        n_cropped = int(float(matrix_x.text or 0) * float(wanted_fov_x.text or 0) / float(fov_x.text or 1))
        if 0 < max(center, n_samples - center) <= (n_cropped + 1) // 2 < float(matrix_x.text or 0) / 2:
            matrix_x.text, fov_x.text = str(n_cropped), wanted_fov_x.text
    return ElementTree.tostring(root)


def kspaces_of(recon_data: ReconData, header: Any) -> Iterator[KSpace]:
    """Every k-space in it. `header` is the parsed MRD header.

    Raises StreamError for a non-Cartesian buffer.
    """
    for space, bit in enumerate(recon_data.bits):
        if bit.data.has_trajectory:
            raise StreamError(
                f"ReconData, encoding {space}: expected Cartesian data, got a trajectory; "
                "start the recipe where readouts pass"
            )
        if not bit.data.data.size:
            continue
        encoding = Encoding.from_header(header, space)
        for where in itertools.product(*map(range, bit.data.data.shape[:3])):
            kspace = _kspace(bit, where, encoding)
            if kspace is not None:
                yield kspace


def _kspace(bit: ReconBit, where: tuple[int, ...], encoding: Encoding) -> KSpace | None:
    """The k-space of one location, S and N, with its embedded reference lines as `Accumulate` has them; None
    when no readout was put there."""
    headers, lines = _lines(bit.data, where)
    if not lines.any():
        return None
    data = bit.data.data[where]
    reference = bit.reference
    # References of another shape are averaged over images, or on a grid of their own.
    if (
        encoding.calibration_mode == "embedded"
        and reference is not None
        and reference.data.shape == bit.data.data.shape
    ):
        reference_headers, reference_lines = _lines(reference, where)
        headers = np.where(lines, headers, reference_headers)
        data = np.where(lines[..., None], data, reference.data[where])
        lines = lines | reference_lines
    n_z, n_y, n_x = data.shape[1:]
    encoded_fov_mm, (encoded_x, encoded_y, encoded_z) = encoding.encoded_fov_mm, encoding.encoded_matrix
    grid = n_x, max(n_y, encoded_y), max(n_z, encoded_z)
    # A buffer as long as the encoding limits begins at the grid's first line but may end before its last.
    missing = [(0, grid[2] - n_z), (0, grid[1] - n_y)]
    return KSpace(
        data=torch.from_numpy(np.pad(data, [(0, 0), *missing, (0, 0)])),
        sampled=torch.from_numpy(np.pad(_sampled(data, lines), [*missing, (0, 0)])),
        header=_central(headers, lines, (grid[2] // 2, grid[1] // 2)),
        encoding=replace(
            encoding,
            encoded_matrix=grid,
            # Only oversampling that has been removed makes a readout shorter: its steps in k stay the same.
            encoded_fov_mm=(encoded_fov_mm[0] * n_x / encoded_x, *encoded_fov_mm[1:]),
        ),
        calibration=None if reference is None else _calibration(reference, where),
    )


def _lines(buffer: Buffer, where: tuple[int, ...]) -> tuple[npt.NDArray[np.void], npt.NDArray[np.bool_]]:
    """`(kz, ky)`: the headers, and which of them belong to a readout."""
    headers = buffer.headers[where]
    return headers, headers["number_of_samples"] > 0


def _central(headers: npt.NDArray[np.void], lines: npt.NDArray[np.bool_], center: tuple[int, int]) -> np.void:
    """The header of the readout nearest to the centre of k-space."""
    where = np.argwhere(lines)
    nearest = where[np.argmin(np.sum((where - center) ** 2, axis=1))]
    header: np.void = headers[tuple(nearest)]
    return header


def _calibration(reference: Buffer, where: tuple[int, ...]) -> torch.Tensor | None:
    """The fully sampled block of the reference lines; None when there is none."""
    if not reference.data.size:
        return None
    # Averaged references have length one along the axes they were averaged over.
    where = tuple(min(i, n - 1) for i, n in zip(where, reference.data.shape, strict=False))
    data = reference.data[where]
    block = calibration_block(torch.from_numpy(_sampled(data, _lines(reference, where)[1])))
    return None if block is None else torch.from_numpy(data)[(slice(None), *block)]


def _sampled(data: npt.NDArray[np.complex64], lines: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """`(kz, ky, kx)`: headers tell the lines; along them only zeros tell what an asymmetric echo lacks."""
    sampled: npt.NDArray[np.bool_] = lines[..., None] & np.any(data != 0, axis=(0, 1, 2))
    return sampled


def image_series_of(array: ImageArray) -> Iterator[ImageSeries]:
    """Every image of an image array."""
    for number, where in enumerate(np.ndindex(array.headers.shape)):
        head = ismrmrd.ImageHeader.from_buffer_copy(array.headers[where].tobytes())
        # The core fills these in only when it sends single images.
        n_channels, n_z, n_y, n_x = array.data[where].shape
        head.data_type, head.channels = ismrmrd.DATATYPE_CXFLOAT, n_channels
        head.matrix_size = n_x, n_y, n_z
        image = ismrmrd.Image(head, array.metas[number] if array.metas else "")
        image.data[:] = array.data[where]
        yield image_series_from(image)


def image_series_from(image: ismrmrd.Image) -> ImageSeries:
    """One MRD image. Gadgetron calls complex images magnitudes before the magnitude is taken."""
    series = from_mrd(image)
    if series.data.is_complex():
        return replace(series, image_type=ismrmrd.IMTYPE_COMPLEX)
    return series
