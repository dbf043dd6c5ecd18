"""Fixed attributes for images."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import msgspec

from gadgets.gadget import Context, Gadget
from gadgets.records import ImageSeries


class AddMeta(Gadget, frozen=True):
    """Add MRD meta attributes to every image; an attribute already there is replaced."""

    accepts = ImageSeries
    emits = ImageSeries

    attributes: dict[str, str] = msgspec.field(default_factory=dict)
    """Names and values."""

    def __call__(self, items: Iterable[ImageSeries], context: Context) -> Iterator[ImageSeries]:
        for series in items:
            yield replace(series, meta={**series.meta, **self.attributes})
