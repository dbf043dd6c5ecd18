"""A simulated multitasking scan as the scanner would stream it.

Of each readout `idx` says: `kspace_encode_step_1` is its number among the spokes, or among the navigators;
`contrast` its inversion time; `repetition` its recovery. Navigators carry IS_NAVIGATION_DATA.
"""

from collections import deque
from collections.abc import Iterator

import ismrmrd
import numpy as np
import torch

from gadgets.records import Readouts
from pipelines.simulated_headers import (
    empty_headers,
    flag,
    header_xml,
    limit_xml,
    noise_readout,
    space_xml,
)
from pipelines.sources import Item, Scan
from recon_core.dynamic.multitasking import MultitaskingScan

TICK_MS = 2.5
"""Of MRD's time stamps, as Siemens scanners count them."""
THICKNESS_MM = 8.0
ECG_ID, ECG_SAMPLE_TIME_US, ECG_SAMPLES = 0, 2500.0, 400
"""Waveforms of a second each."""
ECG_BASELINE, ECG_R_WAVE = 2048, 1000


def multitasking_scan(
    simulation: MultitaskingScan, *, field_strength_t: float = 3.0, with_ecg: bool = False, n_threads: int = 1
) -> Scan:
    """A noise scan, then navigators and spokes in turn; `with_ecg` an electrocardiogram between them.

    The k-space is made while it is read: see `MultitaskingScan.kspace`, also for `n_threads`.
    """

    def items() -> Iterator[Item]:
        yield noise_readout(simulation.noise)
        waveforms = deque(_ecg(simulation) if with_ecg else ())
        done, trajectory = 0, simulation.trajectory
        for block in simulation.kspace(n_threads):
            which = slice(done, done + len(block))
            readouts = _readouts(simulation, block, trajectory[which], which)
            while waveforms and waveforms[0].time_stamp <= readouts.headers["acquisition_time_stamp"][0]:
                yield waveforms.popleft()
            yield readouts
            done += len(block)
        yield from waveforms

    return Scan(_header_xml(simulation, field_strength_t), items)


def _readouts(
    simulation: MultitaskingScan, block: torch.Tensor, trajectory: torch.Tensor, which: slice
) -> Readouts:
    headers = empty_headers(*block.shape)
    number = np.arange(which.start, which.stop)
    headers["scan_counter"] = 2 + number
    headers["trajectory_dimensions"] = 2
    headers["acquisition_time_stamp"] = _ticks(simulation.motion.times_s[which])
    headers["idx"]["kspace_encode_step_1"] = number // 2
    headers["idx"]["contrast"] = simulation.inversion_index[which]
    headers["idx"]["repetition"] = simulation.recovery[which]
    flag(headers, simulation.is_navigator[which].numpy(), "IS_NAVIGATION_DATA")
    if which.stop == len(simulation.pulse):
        flag(headers, -1, "LAST_IN_SLICE", "LAST_IN_REPETITION", "LAST_IN_MEASUREMENT")
    return Readouts(headers=headers, data=block.numpy(), trajectory=trajectory.numpy())


def _ticks(times_s: torch.Tensor) -> torch.Tensor:
    return (1000 / TICK_MS * times_s).long()


def _ecg(simulation: MultitaskingScan) -> Iterator[ismrmrd.Waveform]:
    """Two channels: R waves on a baseline, and one that is 1 at each R wave. Flat without a heartbeat."""
    n_seconds = int(simulation.motion.times_s[-1]) + 1
    sample_s = ECG_SAMPLE_TIME_US * 1e-6
    times_s = torch.arange(n_seconds * ECG_SAMPLES, dtype=torch.float64) * sample_s
    trace, trigger = torch.full_like(times_s, ECG_BASELINE), torch.zeros_like(times_s)
    for r_wave_s in simulation.motion.r_waves_s.tolist():
        trace += ECG_R_WAVE * torch.exp(-(((times_s - r_wave_s) / 0.012) ** 2))
        trigger[((times_s - r_wave_s) >= 0) & (times_s - r_wave_s < sample_s)] = 1
    samples = torch.stack([trace, trigger]).numpy().astype(np.uint32)
    for second in range(n_seconds):
        yield ismrmrd.Waveform.from_array(
            np.ascontiguousarray(samples[:, second * ECG_SAMPLES : (second + 1) * ECG_SAMPLES]),
            scan_counter=second + 1,
            time_stamp=int(_ticks(torch.tensor(float(second)))),
            sample_time_us=ECG_SAMPLE_TIME_US,
            waveform_id=ECG_ID,
        )


def _header_xml(simulation: MultitaskingScan, field_strength_t: float) -> bytes:
    protocol, fov_mm = simulation.protocol, simulation.chest.anatomy.fov_mm
    sequence, matrix, n_samples = protocol.sequence, protocol.matrix, len(simulation.radius)
    wide_mm = fov_mm * n_samples / matrix
    times = "".join(f"<TI>{time_ms:g}</TI>" for time_ms in simulation.inversion_times_ms.tolist())
    return header_xml(
        "simulated multitasking",
        "HEART",
        protocol.n_coils,
        f"""
    <encodedSpace>{space_xml((n_samples, matrix), (wide_mm, fov_mm), THICKNESS_MM)}</encodedSpace>
    <reconSpace>{space_xml((matrix, matrix), (fov_mm, fov_mm), THICKNESS_MM)}</reconSpace>
    <encodingLimits>
      {limit_xml("kspace_encoding_step_1", protocol.n_spokes)}
      {limit_xml("slice", 1)}
      {limit_xml("contrast", len(simulation.inversion_times_ms))}
      {limit_xml("repetition", int(simulation.recovery[-1]) + 1)}
    </encodingLimits>
    <trajectory>goldenangle</trajectory>
    <trajectoryDescription>
      <identifier>golden angle with navigators</identifier>
      <userParameterLong><name>navigator_every</name><value>2</value></userParameterLong>
      <userParameterDouble><name>angle_step_deg</name><value>111.24611797498107</value></userParameterDouble>
      <comment>Every other readout is a navigator along kx, the first one is; those in between turn by the
        angle, from kx towards ky. idx.contrast counts inversion times, idx.repetition inversions.</comment>
    </trajectoryDescription>
  """,
        f"""
  <sequenceParameters>
    <TR>{sequence.tr_ms:g}</TR>
    {times}
    <flipAngle_deg>{sequence.flip_angle_deg:g}</flipAngle_deg>
    <sequence_type>Flash</sequence_type>
  </sequenceParameters>
  <userParameters>
    <userParameterLong><name>pulses_per_inversion</name><value>{sequence.n_pulses}</value></userParameterLong>
    <userParameterDouble><name>inversion_delay_ms</name><value>{sequence.delay_ms:g}</value></userParameterDouble>
  </userParameters>""",
        field_strength_t=field_strength_t,
    )
