"""Images of the same samples by other people's programs, with nothing of ours in between.

Samples are read with h5py and put on their grid here; transforms, coil maps and solvers are SigPy's and
BART's.
"""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import h5py
import ismrmrd
import numpy as np
import numpy.typing as npt
import sigpy
import torch

Array = npt.NDArray[np.generic]
RunBart = Callable[..., list[torch.Tensor]]

_CALIBRATION = 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION - 1)
_BOTH = 1 << (ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING - 1)
_NOISE = 1 << (ismrmrd.ACQ_IS_NOISE_MEASUREMENT - 1)


class Samples(NamedTuple):
    """A Cartesian 2-D scan, zero where nothing was sampled."""

    kspace: Array
    """`(slice, coil, ky, kx)`, embedded calibration lines among them"""
    calibration: Array
    """The same, of the lines to calibrate from; all lines where none are flagged."""
    noise: Array | None
    """`(coil, sample)`"""
    n_x: int
    """Samples of the image along the readout."""


def read_samples(path: Path) -> Samples:
    """The first repetition in an ISMRMRD file."""
    with h5py.File(path, "r", locking=False) as file:
        header = ismrmrd.xsd.CreateFromDocument(file["dataset/xml"][0])
        table = file["dataset/data"][:]
    encoding = header.encoding[0]
    limit = encoding.encodingLimits.kspace_encoding_step_1
    n_x, n_y = encoding.encodedSpace.matrixSize.x, encoding.encodedSpace.matrixSize.y
    heads = table["head"]
    n_coils, n_slices = int(heads["active_channels"][0]), int(heads["idx"]["slice"].max()) + 1
    kspace = np.zeros((n_slices, n_coils, n_y, n_x), np.complex64)
    calibration = np.zeros_like(kspace)
    noise = None
    parallel = encoding.parallelImaging
    is_embedded = (
        parallel is not None and parallel.calibrationMode == ismrmrd.xsd.calibrationModeType.EMBEDDED
    )
    for head, data in zip(heads, table["data"], strict=True):
        samples = data.view(np.complex64).reshape(n_coils, -1)
        flags, counters = int(head["flags"]), head["idx"]
        line = int(counters["kspace_encode_step_1"]) - limit.center + n_y // 2
        place = int(counters["slice"]), slice(None), line
        if flags & _NOISE:
            noise = samples
        elif counters["repetition"] == 0:
            if flags & (_CALIBRATION | _BOTH):
                calibration[place] = samples
            if is_embedded or not flags & _CALIBRATION:
                kspace[place] = samples
    if not calibration.any():
        calibration = kspace
    return Samples(kspace, calibration, noise, encoding.reconSpace.matrixSize.x)


def whitened(samples: Samples, bart: RunBart) -> Samples:
    """By `bart whiten`."""
    assert samples.noise is not None

    def white(kspace: Array) -> Array:
        (result,) = bart("whiten -n", kspace[:, :, None], samples.noise[:, None, None])
        return result.numpy().reshape(kspace.shape)

    return samples._replace(kspace=white(samples.kspace), calibration=white(samples.calibration))


def coil_images(kspace: Array, n_x: int) -> Array:
    """`(slice, coil, y, x)` by SigPy, without readout oversampling."""
    return sigpy.ifft(_without_oversampling(kspace, n_x), axes=(-2, -1))


def rss(samples: Samples, _bart: RunBart) -> Array:
    return sigpy.rss(coil_images(samples.kspace, samples.n_x), axes=1)


def matched(samples: Samples, bart: RunBart) -> Array:
    """Coil images combined with BART's ESPIRiT maps of the calibration lines."""
    images = coil_images(samples.kspace, samples.n_x)
    return np.abs((_maps(samples, bart).conj() * images).sum(1))


def sense(samples: Samples, bart: RunBart) -> Array:
    """`bart pics` without regularisation."""
    return _pics("pics -S -i 30", samples, bart)


def wavelet(samples: Samples, bart: RunBart) -> Array:
    """`bart pics` with an l1 penalty of wavelet coefficients."""
    return _pics("pics -S -i 50 -R W:3:0:0.002", samples, bart)


def _pics(command: str, samples: Samples, bart: RunBart) -> Array:
    kspace, maps = _without_oversampling(samples.kspace, samples.n_x), _maps(samples, bart)
    images = [bart(command, k[:, None], m[:, None])[0] for k, m in zip(kspace, maps, strict=True)]
    return np.stack([np.abs(image.numpy().reshape(kspace.shape[-2:])) for image in images])


def _maps(samples: Samples, bart: RunBart) -> Array:
    calibration = _without_oversampling(samples.calibration, samples.n_x)
    maps = [bart("ecalib -m 1 -r 24", k[:, None])[0].numpy().reshape(k.shape) for k in calibration]
    return np.stack(maps)


def _without_oversampling(kspace: Array, n_x: int) -> Array:
    """Along kx alone, so that lines not sampled stay zero, by which BART knows them."""
    along_x = sigpy.ifft(kspace, axes=(-1,))
    return sigpy.fft(sigpy.resize(along_x, (*along_x.shape[:-1], n_x)), axes=(-1,))


PEERS: dict[str, Callable[[Samples, RunBart], Array]] = {
    "rss": rss,
    "matched": matched,
    "sense": sense,
    "wavelet": wavelet,
}
