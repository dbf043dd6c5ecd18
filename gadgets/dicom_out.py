"""Images into the hospital's archive, beside being sent."""

from collections.abc import Iterable, Iterator

from gadgets.gadget import Context, Gadget
from gadgets.records import ImageSeries
from recon_core.errors import ReconstreamError


class DicomOut(Gadget, frozen=True):
    """Keep the images that pass as DICOM, in the folder and at the archive that the server was started with.

    A recipe says that images are kept, never where: recipes may come from anyone who reaches the server. They
    pass first and unchanged. What cannot be kept (a full disk, say) is a warning: the scan goes on.
    """

    accepts = ImageSeries
    emits = ImageSeries

    def __call__(self, items: Iterable[ImageSeries], context: Context) -> Iterator[ImageSeries]:
        archive = context.archive
        if archive is None:
            context.logger.warning(
                "DicomOut: expected a folder for DICOM files, got none: images pass and are not kept; "
                "start the server with --dicom-folder"
            )
            yield from items
            return
        try:
            for series in items:
                yield series
                try:
                    archive.keep(series)
                except (ReconstreamError, OSError, ValueError) as error:
                    context.logger.warning("DicomOut: an image is not kept as DICOM: %s", error)
        finally:
            archive.close()
