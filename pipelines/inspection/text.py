"""An inspection in words."""

from collections.abc import Iterator

import numpy as np

from pipelines.inspection.picture import sampling_text
from pipelines.inspection.records import CounterRange, EncodingSpace, Inspection, Noise, Sampling


def rendered(inspection: Inspection) -> str:
    """Lines of text for a terminal."""
    return "\n".join([*_overview(inspection), *_encodings(inspection)])


def _overview(found: Inspection) -> Iterator[str]:
    yield f"{found.file}: {found.format}"
    if found.interrupted:
        yield f"  INTERRUPTED   {found.interrupted}"
    for name, value in (
        ("measurement", found.measurement),
        ("protocol", found.protocol),
        ("system", found.system),
        ("readouts", f"{found.n_readouts}" + "".join(f"; {n} of {s}" for s, n in found.shapes.items())),
        ("dwell time", ", ".join(f"{time:g} µs" for time in found.dwell_times_us)),
        ("images", str(found.n_images or "")),
        ("waveforms", ", ".join(f"{n} of id {number}" for number, n in found.n_waveforms.items())),
        ("noise scan", _noise(found.noise) if found.n_readouts else ""),
        ("needs", ", ".join(f"{kind} of {number}" for kind, number in found.dependencies.items())),
        ("flags", ", ".join(f"{name} {n}" for name, n in found.flags.items())),
    ):
        if value:
            yield f"  {name:<13} {value}"


def _noise(noise: Noise | None) -> str:
    if noise is None:
        return "none: images will not be noise-whitened"
    stds = ", ".join(f"{std:.3g}" for std in noise.std)
    return f"{noise.n_readouts} readouts at {noise.dwell_time_us:g} µs, channels' standard deviation {stds}"


def _encodings(found: Inspection) -> Iterator[str]:
    for number, space in enumerate(found.encodings):
        yield f"encoding {number}: {space.trajectory}, {space.n_readouts} readouts"
        yield f"  encoded       {_size(space.encoded_matrix, space.encoded_fov_mm)}"
        yield f"  reconstructed {_size(space.recon_matrix, space.recon_fov_mm)}"
        yield from _counters(space)
        if space.sampling:
            yield from _sampling(space, space.sampling)


def _size(matrix: tuple[int, int, int], fov_mm: tuple[float, float, float]) -> str:
    return " x ".join(map(str, matrix)) + " in " + " x ".join(f"{mm:g}" for mm in fov_mm) + " mm"


def _counters(space: EncodingSpace) -> Iterator[str]:
    for name, counter in space.counters.items():
        if counter.last or (counter.limits and counter.limits[1]):
            yield f"  {name:<21} {counter.first} to {counter.last}{_limits(counter)}"


def _limits(counter: CounterRange) -> str:
    if counter.limits is None:
        return ", no limits in the header"
    within = "" if counter.is_within_limits else ", OUTSIDE the limits"
    return f" (limits {counter.limits[0]} to {counter.limits[1]}{within})"


def _sampling(space: EncodingSpace, sampling: Sampling) -> Iterator[str]:
    seen = "irregular" if sampling.acceleration is None else _product(sampling.acceleration)
    yield f"  acceleration  {_product(space.acceleration)} in the header, {seen} seen (ky x kz)"
    if sampling.calibration:
        yield f"  calibration   {_product(sampling.calibration)} lines about the centre (ky x kz)"
    n_there = sampling.n_expected - sampling.n_missing
    words = f"{sampling.n_lines} in {sampling.n_images} images: {n_there} of {sampling.n_expected} expected"
    if n_besides := sampling.n_lines - n_there:
        words += f", {n_besides} besides, as calibration lines are"
    yield f"  lines         {words}"
    for row in sampling_text(np.array(sampling.mask)):
        yield f"  {row}"


def _product(pair: tuple[int, int]) -> str:
    return f"{pair[0]} x {pair[1]}"
