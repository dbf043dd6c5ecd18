"""What images are written as."""

from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path

import ismrmrd

from pipelines.outputs.dicom import DicomWriter
from pipelines.outputs.mrd import MrdWriter
from pipelines.outputs.nifti import NiftiWriter
from pipelines.outputs.numpy_array import NumpyWriter
from pipelines.outputs.png import PngWriter
from pipelines.outputs.stream import StreamWriter
from pipelines.outputs.writer import ImageWriter
from recon_core.errors import InputError

OUTPUTS: dict[str, type[ImageWriter]] = {
    "mrd": MrdWriter,
    "stream": StreamWriter,
    "png": PngWriter,
    "nifti": NiftiWriter,
    "dicom": DicomWriter,
    "npy": NumpyWriter,
}
"""Writers by the name of their format."""


def write_all(
    images: Iterable[ismrmrd.Image],
    directory: Path,
    stem: str,
    header_xml: bytes,
    formats: Sequence[str] = ("mrd",),
) -> list[Path]:
    """Write `images` as they come in every format; the files appear once all are written.

    Raises InputError on an unknown format; whatever `images` raises leaves no file behind.
    """
    if unknown := [name for name in formats if name not in OUTPUTS]:
        raise InputError(f"formats: expected some of {', '.join(OUTPUTS)}, got {', '.join(unknown)}")
    writers = [OUTPUTS[name](directory, stem, header_xml) for name in formats]
    with ExitStack() as stack:
        for writer in writers:
            stack.callback(writer.discard)
        for image in images:
            for writer in writers:
                writer.write(image)
        paths = [path for writer in writers for path in writer.close()]
        stack.pop_all()
    return paths
