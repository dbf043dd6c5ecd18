"""How bright a viewer should show the images at first."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from gadgets.gadget import Context, Gadget
from gadgets.records import ImageSeries
from gadgets.scale_intensity import percentile
from recon_core.errors import InputError


class Window(Gadget, frozen=True):
    """Write WindowCenter and WindowWidth to the meta; pixels stay as they are.

    Without `center` and `width` the window spans from the lower to the upper percentile of the first image of
    each series. It is one of values, as MRD and DICOM have it: after the RescaleSlope and RescaleIntercept
    that ScaleIntensity leaves. Raises InputError for complex images.
    """

    accepts = ImageSeries
    emits = ImageSeries

    center: float | None = None
    """Value shown half bright."""
    width: float | None = None
    """Range of values from black to white."""
    lower_percentile: float = 1.0
    """Shown black, where no window is given."""
    upper_percentile: float = 99.5
    """Shown white, where no window is given."""

    def __call__(self, items: Iterable[ImageSeries], context: Context) -> Iterator[ImageSeries]:
        windows: dict[tuple[int, int], dict[str, str]] = {}
        for series in items:
            if series.data.is_complex():
                raise InputError("Window: expected real images, got complex ones; put ImageType in front")
            kind = series.series_index, series.image_type
            if kind not in windows:
                windows[kind] = self._window(series)
            yield replace(series, meta={**series.meta, **windows[kind]})

    def _window(self, series: ImageSeries) -> dict[str, str]:
        center, width = self.center, self.width
        if center is None or width is None:
            slope, intercept = (
                float(str(series.meta.get(name, default)))
                for name, default in (("RescaleSlope", 1.0), ("RescaleIntercept", 0.0))
            )
            black = slope * percentile(series.data, self.lower_percentile) + intercept
            white = slope * percentile(series.data, self.upper_percentile) + intercept
            center = (white + black) / 2 if center is None else center
            width = white - black if width is None else width
        return {"WindowCenter": f"{center:.9g}", "WindowWidth": f"{width:.9g}"}
