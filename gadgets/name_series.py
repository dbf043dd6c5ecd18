"""Names and numbers of image series."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gadgets.gadget import Context, Gadget
from gadgets.records import ImageSeries


class NameSeries(Gadget, frozen=True):
    """Give images a series number and a name, which goes to SeriesDescription and its MRD additions."""

    accepts = ImageSeries
    emits = ImageSeries

    index: int = 0
    """MRD's image_series_index."""
    name: str = ""
    """What the series is called."""

    def __call__(self, items: Iterable[ImageSeries], context: Context) -> Iterator[ImageSeries]:
        for series in items:
            yield replace(series, series_index=self.index, series_name=self.name)
