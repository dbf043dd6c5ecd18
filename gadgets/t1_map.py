"""T1 maps."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

import torch

from gadgets.feature_records import FeatureSeries, FlipAngles, Recovery
from gadgets.gadget import Context, Gadget
from gadgets.quantitative import quantitative_meta
from gadgets.records import ImageSeries
from recon_core.dynamic.t1_fit import T1Fit, flash_recovery_t1, variable_flip_angle_t1
from recon_core.errors import InputError


class T1Map(Gadget, frozen=True):
    """T1 in ms at every voxel, fitted to the frames of a series; the series itself goes on behind the maps.

    Inversion recovery under FLASH (Look-Locker), with the inversion's efficiency free, or variable flip
    angles with the nominal ones taken as true. A map is a quantitative image, as
    [DICOM](../docs/dicom.md) reads it: its values are ms and no gadget scales them. **0 is no T1**: where
    the signal is too weak, the best T1 lies outside the range, or no curve explains the signal.

    Raises InputError for series whose frames differ in no contrast.
    """

    accepts = FeatureSeries
    emits = ImageSeries | FeatureSeries

    phases: tuple[int, ...] | None = (0,)
    """Cardiac phases to make a map of, where there are several; none for all."""
    sets: tuple[int, ...] | None = (0,)
    """Breaths likewise; 0 is the end of expiration."""
    n_times: int = 64
    """Inversion times that are fitted, evenly spread over those there are: more cost time."""
    t1_range_ms: tuple[float, float] = (50.0, 5000.0)
    """T1 outside is masked."""
    min_signal: float = 0.1
    """Share of the 99th percentile of the signal below which voxels are masked."""
    series_index: int = 1
    """MRD's image_series_index of the maps."""

    def __call__(
        self, items: Iterable[FeatureSeries], context: Context
    ) -> Iterator[ImageSeries | FeatureSeries]:
        for series in items:
            if series.frames.contrast is None:
                raise InputError(
                    "T1Map: expected frames of several inversion times or flip angles, got none; leave it out"
                )
            for phase in series.frames.indices(self.phases, "phase").tolist():
                for breath in series.frames.indices(self.sets, "set").tolist():
                    yield self._map(series, {"phase": phase, "set": breath}, context)
            yield series

    def _map(self, series: FeatureSeries, motion: dict[str, int], context: Context) -> ImageSeries:
        frames = series.frames
        n_contrasts = frames.basis.shape[-1]
        times = torch.linspace(0, n_contrasts - 1, min(self.n_times, n_contrasts)).round().long()
        place = [motion.get(counter, 0) for counter in frames.counters[:-1]]
        images = frames.basis.frames(series.maps, *place, times)
        fit = self._fit(frames.contrast, images, times)
        signal = images.abs().amax(0)
        is_weak = signal < self.min_signal * signal.flatten().quantile(0.99)
        n_masked, n_seen = int((~fit.valid & ~is_weak).sum()), int((~is_weak).sum())
        if n_masked:
            context.logger.info("T1 map: %d of %d voxels with signal fit no T1", n_masked, n_seen)
        t1_ms = torch.where(is_weak, 0, fit.t1_ms)
        image = series.image(t1_ms, (*place, 0))
        return replace(
            image,
            series_index=self.series_index,
            series_name="T1 map",
            meta={**image.meta, **quantitative_meta("T1", "ms")},
        )

    def _fit(
        self, contrast: FlipAngles | Recovery | None, images: torch.Tensor, times: torch.Tensor
    ) -> T1Fit:
        if isinstance(contrast, FlipAngles):
            angles_deg = contrast.flip_angles_deg[times]
            return variable_flip_angle_t1(images, angles_deg, contrast.tr_ms, t1_range_ms=self.t1_range_ms)
        assert isinstance(contrast, Recovery)
        times_ms = contrast.times_ms[times]
        return flash_recovery_t1(images, times_ms, contrast.sequence, t1_range_ms=self.t1_range_ms)
