"""Noise whitening of the receiver channels."""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from gadgets.gadget import Context, Gadget
from gadgets.noise_of_study import NoiseCovariance, keep_noise, noise_of_study
from gadgets.records import Readouts
from recon_core.coils.whitening import noise_covariance, whitening_matrix
from recon_core.errors import CalibrationError

MAX_NOISE_SAMPLES = 1 << 25
"""Complex samples kept of a noise scan, over all channels: 256 MB, far more than a covariance needs."""

PLAUSIBLE_BANDWIDTHS = 0.1, 10.0
"""Receivers' noise bandwidths relative to their sampling rate; filters make them 0.7 to 1."""


class NoiseAdjust(Gadget, frozen=True):
    """Take the noise readouts out of the stream and whiten the channels of all others.

    The covariance comes from this scan's own noise readouts, which go first so that a replay equals the
    inline run; else from the earlier scan that the header names as its `Noise` dependency; else, where the
    header names its coils, from the study's latest noise scan that had them all, which is noted. Where both
    scans name their coils, the noise scan's channels are put in the order of this scan's.
    The whitening matrix is scaled by ``sqrt(imaging dwell time / noise dwell time * relative receiver noise
    bandwidth)`` and attached to the readouts, not applied: see `Readouts.coil_matrix`.
    Without usable noise the readouts pass unwhitened, which is said in the log and in their notes.

    Kellman & McVeigh 2005, doi:10.1002/mrm.20713.
    """

    accepts = Readouts
    emits = Readouts

    def __call__(self, items: Iterable[Readouts], context: Context) -> Iterator[Readouts]:
        scan = _NoiseScan()
        whitening: _Whitening | None = None
        for block in items:
            is_noise = block.flagged("IS_NOISE_MEASUREMENT")
            for run in _runs(block, is_noise) if is_noise.any() else (block,):
                if run.flagged("IS_NOISE_MEASUREMENT")[0]:
                    scan.add(run)
                    if whitening is not None:
                        whitening.noise_came_late(context)
                    continue
                if whitening is None:
                    whitening = _Whitening.of(scan, run.data.shape[1], context)
                yield from whitening.attached(run)
        scan.store(context)


class _NoiseScan:
    """The noise readouts of one scan, as many as are worth keeping."""

    def __init__(self) -> None:
        self._samples: list[npt.NDArray[np.complex64]] = []
        self._room = MAX_NOISE_SAMPLES
        self._dwell_time_us = 0.0

    def add(self, readouts: Readouts) -> None:
        for header, samples in zip(readouts.headers, readouts.data, strict=True):
            if samples.size <= self._room and (not self._samples or len(samples) == len(self._samples[0])):
                self._dwell_time_us = self._dwell_time_us or float(header["sample_time_us"])
                self._samples.append(samples.copy())  # a view would keep its whole block alive
                self._room -= samples.size

    def covariance(self) -> NoiseCovariance | None:
        """Raises CalibrationError when the noise cannot be used."""
        if not self._samples:
            return None
        samples = torch.from_numpy(np.concatenate(self._samples, axis=1))
        return NoiseCovariance(noise_covariance(samples), self._dwell_time_us)

    def store(self, context: Context) -> None:
        """Leave the covariance to later scans."""
        try:
            covariance = self.covariance()
        except CalibrationError as error:
            context.logger.warning("noise scan not stored: %s", error)
        else:
            if covariance is not None:
                keep_noise(covariance, context)


class _Whitening:
    """The noise that was known when imaging began, as one matrix per imaging dwell time."""

    def __init__(
        self, noise: NoiseCovariance | None, notes: tuple[str, ...], relative_bandwidth: float
    ) -> None:
        self._noise, self._notes, self._relative_bandwidth = noise, notes, relative_bandwidth
        self._matrices: dict[float, torch.Tensor] = {}

    @classmethod
    def of(cls, scan: _NoiseScan, n_coils: int, context: Context) -> "_Whitening":
        relative_bandwidth, notes = _relative_bandwidth(context.header)
        try:
            noise = scan.covariance()
            if noise is None:
                noise, borrowed = noise_of_study(context)
                notes = (*notes, *borrowed)
            if len(noise.matrix) != n_coils:
                raise CalibrationError(f"noise scan of {len(noise.matrix)} channels, readouts of {n_coils}")
            whitening_matrix(noise.matrix)
        except CalibrationError as error:
            note = f"not noise-whitened: {error}"
            context.logger.warning(note)
            return cls(None, (note,), relative_bandwidth)
        for note in notes:
            context.logger.warning(note)
        return cls(noise, notes, relative_bandwidth)

    def noise_came_late(self, context: Context) -> None:
        note = "noise readouts that came after imaging began were not used for this scan"
        if note not in self._notes:
            context.logger.warning(note)
            self._notes = (*self._notes, note)

    def attached(self, readouts: Readouts) -> Iterator[Readouts]:
        """The readouts with the matrix of their dwell time, after any matrix they already carry."""
        if self._notes:
            readouts = replace(readouts, notes=(*readouts.notes, *self._notes))
        if self._noise is None:
            yield readouts
            return
        for run in _runs(readouts, readouts.headers["sample_time_us"]):
            yield replace(run, coil_matrix=self._matrix(run))

    def _matrix(self, run: Readouts) -> torch.Tensor:
        assert self._noise is not None
        dwell_time_us, first = float(run.headers["sample_time_us"][0]), run.coil_matrix
        if first is not None:
            recombined = NoiseCovariance(first @ self._noise.matrix @ first.mH, self._noise.dwell_time_us)
            return recombined.whitening(dwell_time_us, self._relative_bandwidth) @ first
        if dwell_time_us not in self._matrices:
            self._matrices[dwell_time_us] = self._noise.whitening(dwell_time_us, self._relative_bandwidth)
        return self._matrices[dwell_time_us]


def _relative_bandwidth(header: Any) -> tuple[float, tuple[str, ...]]:
    """The header's, 1 where it has none, and 1 with a note where it cannot be meant."""
    system = header.acquisitionSystemInformation
    stated = system.relativeReceiverNoiseBandwidth if system else None
    if stated is None:
        return 1.0, ()
    lowest, highest = PLAUSIBLE_BANDWIDTHS
    if lowest <= stated <= highest:
        return float(stated), ()
    return 1.0, (f"relative receiver noise bandwidth taken as 1, not {stated:g} as the header says",)


def _runs(readouts: Readouts, values: npt.NDArray[Any]) -> Iterator[Readouts]:
    """The readouts cut wherever `values` (readout,) changes."""
    starts = np.flatnonzero(values[1:] != values[:-1]) + 1
    if not len(starts):
        yield readouts
        return
    for start, stop in zip((0, *starts), (*starts, len(readouts)), strict=True):
        yield readouts.select(slice(start, stop))
