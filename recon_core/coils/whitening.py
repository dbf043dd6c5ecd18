"""Noise covariance and the matrix that makes receiver noise white.

Kellman & McVeigh 2005, doi:10.1002/mrm.20713: images in units of their own noise.
"""

import math

import torch

from recon_core.errors import CalibrationError, InputError


def noise_covariance(samples: torch.Tensor) -> torch.Tensor:
    """Hermitian noise covariance ``C = (1/n) sum_t n_t n_t^H`` of pure-noise `samples`.

    Receiver noise has no mean, so none is removed and the factor 1/n (not 1/(n-1)) is the unbiased one.
    Variances are complex: real and imaginary part together.

    samples: (coil, n), readouts of a noise scan laid end to end. Returns (coil, coil).
    Raises CalibrationError where n < coil (C would be singular) or a sample is not finite.
    """
    if samples.ndim != 2:
        raise InputError(
            f"noise_covariance: expected samples (coil, n), got shape {tuple(samples.shape)}; reshape"
        )
    n_coils, n_samples = samples.shape
    if n_samples < n_coils:
        raise CalibrationError(
            f"noise_covariance: expected at least as many noise samples as coils ({n_coils}), "
            f"got {n_samples}; give a longer noise scan or reconstruct unwhitened"
        )
    if not bool(torch.isfinite(samples).all()):
        raise CalibrationError(
            "noise_covariance: expected finite noise samples, got NaN or Inf; drop the broken readouts"
        )
    return samples @ samples.mH / n_samples


def whitening_matrix(covariance: torch.Tensor, bandwidth_scale: float = 1.0) -> torch.Tensor:
    """Lower-triangular ``W = bandwidth_scale L^-1`` with ``C = L L^H``, so that ``W C W^H = bandwidth_scale^2
    I``.

    Noise of covariance C, multiplied by W, has unit complex variance in every channel and none in common.

    covariance: (coil, coil) Hermitian; bandwidth_scale: see `noise_bandwidth_scale`. Returns (coil, coil).
    Raises CalibrationError for a channel without noise (dead or constant) and for channels that copy one
    another: nothing is regularised, since an invented noise level would set that channel's weight.
    """
    variance = covariance.diagonal().real
    dead = [int(i) for i in torch.nonzero(~(variance > 0) | ~torch.isfinite(variance))]
    if dead:
        raise CalibrationError(
            f"whitening_matrix: expected noise in every channel, got none in channel(s) {dead}; "
            "exclude them or reconstruct unwhitened"
        )
    # Factor the correlation matrix: its conditioning does not depend on the channels' gains.
    deviation = variance.sqrt()
    correlation = covariance / (deviation[:, None] * deviation)
    factor, failed = torch.linalg.cholesky_ex(correlation)
    pivots = factor.diagonal().real.square()
    n_coils = len(covariance)
    if int(failed) or float(pivots.min()) < 8 * n_coils * torch.finfo(pivots.dtype).eps:
        raise CalibrationError(
            f"whitening_matrix: expected {n_coils} independent noise channels, got a singular covariance; "
            "give more noise samples, or exclude duplicated channels"
        )
    identity = torch.eye(n_coils, dtype=covariance.dtype, device=covariance.device)
    inverse = torch.linalg.solve_triangular(factor, identity, upper=False)
    whitening: torch.Tensor = bandwidth_scale * inverse / deviation
    return whitening


def noise_bandwidth_scale(
    noise_dwell_time_us: float,
    imaging_dwell_time_us: float,
    relative_receiver_noise_bandwidth: float = 1.0,
) -> float:
    """Factor for a whitening matrix whose noise scan had another bandwidth than the imaging readouts.

    Noise variance is proportional to bandwidth, 1/dwell time, so imaging noise is sqrt(noise dwell / imaging
    dwell) times that of the noise scan, and W takes the inverse of it::

        sqrt(imaging_dwell_time / noise_dwell_time * relative_receiver_noise_bandwidth)

    relative_receiver_noise_bandwidth is MRD's header field (about 0.79 on Siemens): the receiver filter rolls
    off at the edges of the noise scan, which therefore measures less than the density at its centre.

    Kellman & McVeigh 2005, doi:10.1002/mrm.20713. Raises InputError unless all three are positive.
    """
    ratio = imaging_dwell_time_us * relative_receiver_noise_bandwidth
    if not (noise_dwell_time_us > 0 and imaging_dwell_time_us > 0 and ratio > 0):
        raise InputError(
            "noise_bandwidth_scale: expected positive dwell times and relative bandwidth, got "
            f"{noise_dwell_time_us}, {imaging_dwell_time_us} and {relative_receiver_noise_bandwidth}; "
            "use a scale of 1 where they are unknown"
        )
    return math.sqrt(ratio / noise_dwell_time_us)
