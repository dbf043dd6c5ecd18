"""T1 against Bloch's closed forms, with noise, and against SciPy's fits of single voxels."""

import math

import numpy as np
import numpy.typing as npt
import pytest
import torch
from scipy.optimize import curve_fit

from recon_core.dynamic.bloch import InversionRecovery, recovery_signal, scan_signal
from recon_core.dynamic.t1_fit import flash_recovery_t1, look_locker_t1, variable_flip_angle_t1
from recon_core.errors import InputError

T1_MS = torch.tensor([300.0, 800.0, 1200.0, 1471.0, 1932.0, 2600.0], dtype=torch.float64)
SEQUENCE = InversionRecovery()
TIMES_MS = SEQUENCE.inversion_times_ms[1::2]
ANGLES_DEG = torch.arange(1.0, 20.0, 2.0)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def as_series(signals: torch.Tensor) -> torch.Tensor:
    """(voxel, time) to (time, 1, 1, voxel), each voxel with a phase of its own."""
    phases = torch.exp(1j * torch.arange(len(signals)))
    return (phases[:, None] * signals).mT[:, None, None]


def flash_signal(t1_ms: torch.Tensor, angles_deg: torch.Tensor, tr_ms: float = 5.38) -> torch.Tensor:
    recovery = torch.exp(-tr_ms / t1_ms)[..., None]
    angles_rad = torch.deg2rad(angles_deg.double())
    return torch.sin(angles_rad) * (1 - recovery) / (1 - recovery * torch.cos(angles_rad))


@pytest.mark.parametrize("efficiency", [0.7, 0.95, 1.0])
def test_flash_recovery_gives_t1_proton_density_and_efficiency_of_bloch(efficiency: float) -> None:
    sequence = InversionRecovery(inversion_efficiency=efficiency)
    fit = flash_recovery_t1(as_series(3 * recovery_signal(T1_MS, sequence)[:, 1::2]), TIMES_MS, sequence)
    assert bool(fit.valid.all())
    torch.testing.assert_close(fit.t1_ms.flatten().double(), T1_MS, rtol=1e-5, atol=0)
    torch.testing.assert_close(fit.amplitude.flatten(), torch.full((6,), 3.0), rtol=1e-4, atol=0)
    assert fit.inversion_efficiency is not None
    torch.testing.assert_close(
        fit.inversion_efficiency.flatten(), torch.full((6,), efficiency), rtol=1e-4, atol=0
    )


def test_flash_recovery_takes_the_flip_angle_of_each_voxel() -> None:
    scale = torch.tensor([0.8, 0.9, 1.0, 1.1, 1.2, 1.3], dtype=torch.float64)
    signals = [
        recovery_signal(t1[None], InversionRecovery(flip_angle_deg=5 * float(part)))
        for t1, part in zip(T1_MS, scale, strict=True)
    ]
    series = as_series(torch.cat(signals)[:, 1::2])
    fit = flash_recovery_t1(series, TIMES_MS, SEQUENCE, flip_angle_scale=scale[None, None])
    torch.testing.assert_close(fit.t1_ms.flatten().double(), T1_MS, rtol=1e-5, atol=0)
    torch.testing.assert_close(fit.amplitude.flatten(), torch.ones(6), rtol=1e-4, atol=0)
    wrong = flash_recovery_t1(series, TIMES_MS, SEQUENCE)
    assert float((wrong.t1_ms.flatten() / T1_MS - 1).abs().max()) > 0.1


def test_look_locker_corrects_the_readouts_of_a_first_recovery() -> None:
    """Of small angles, for which equilibrium and steady state are as Deichmann and Haase assume."""
    sequence = InversionRecovery(
        tr_ms=20.0, flip_angle_deg=4.0, n_pulses=400, delay_ms=0.0, inversion_efficiency=0.9
    )
    series = as_series(scan_signal(T1_MS, sequence, 1)[:, 0])
    fit = look_locker_t1(series, sequence.inversion_times_ms, inversion_efficiency=0.9)
    torch.testing.assert_close(fit.t1_ms.flatten().double(), T1_MS, rtol=0.02, atol=0)
    assert float((look_locker_t1(series, sequence.inversion_times_ms).t1_ms.flatten() / T1_MS).max()) < 0.92


def test_variable_flip_angles_give_t1_and_proton_density_with_b1() -> None:
    scale = torch.tensor([0.8, 0.9, 1.0, 1.1, 1.2, 1.3], dtype=torch.float64)
    signals = [flash_signal(t1, ANGLES_DEG * part) for t1, part in zip(T1_MS, scale, strict=True)]
    fit = variable_flip_angle_t1(
        as_series(2 * torch.stack(signals)), ANGLES_DEG, 5.38, flip_angle_scale=scale[None, None]
    )
    torch.testing.assert_close(fit.t1_ms.flatten().double(), T1_MS, rtol=1e-5, atol=0)
    torch.testing.assert_close(fit.amplitude.flatten(), torch.full((6,), 2.0), rtol=1e-4, atol=0)


def test_noisy_voxels_have_the_t1_that_scipy_finds() -> None:
    flash = as_series(recovery_signal(T1_MS, SEQUENCE)[:, 1::2])
    flash = flash + 0.1 * flash.abs().mean() * noise(*flash.shape)
    angles = as_series(flash_signal(T1_MS, ANGLES_DEG))
    angles = angles + 0.03 * angles.abs().mean() * noise(*angles.shape)
    rate = -math.log(math.cos(math.radians(5))) / SEQUENCE.tr_ms

    def recovery_curve(t: npt.NDArray[np.float64], a: float, b: float, t1: float) -> npt.NDArray[np.float64]:
        return np.asarray(a + b * np.exp(-t * (1 / t1 + rate)))

    def angle_curve(angle: npt.NDArray[np.float64], m: float, t1: float) -> npt.NDArray[np.float64]:
        return m * flash_signal(torch.tensor(t1), torch.from_numpy(angle)).numpy()

    def real(series: torch.Tensor, voxel: int) -> npt.NDArray[np.float64]:
        curve = series[:, 0, 0, voxel]
        values = (curve * torch.exp(-0.5j * curve.square().sum().angle())).real
        return (values * values[-1].sign()).numpy()

    recovery = flash_recovery_t1(flash, TIMES_MS, SEQUENCE).t1_ms.flatten()
    variable = variable_flip_angle_t1(angles, ANGLES_DEG, 5.38).t1_ms.flatten()
    for voxel in range(len(T1_MS)):
        y = real(flash, voxel)
        (_, _, t1), _ = curve_fit(recovery_curve, TIMES_MS.numpy(), y, p0=(y[-1], -2 * y[-1], 1000.0))
        assert float(recovery[voxel]) == pytest.approx(t1, rel=1e-3)
        (_, t1), _ = curve_fit(angle_curve, ANGLES_DEG.numpy(), real(angles, voxel), p0=(1.0, 1000.0))
        assert float(variable[voxel]) == pytest.approx(t1, rel=1e-3)


def test_the_error_of_many_noisy_voxels_is_unbiased_and_as_small_as_the_bound() -> None:
    """The spread is that of the Cramér-Rao bound of a, b and T1*."""
    sigma, n_voxels = 0.002, 400
    clean = recovery_signal(torch.tensor([1200.0], dtype=torch.float64), SEQUENCE)[:, 1::2]
    series = as_series(clean.expand(n_voxels, -1)) + sigma * noise(len(TIMES_MS), 1, 1, n_voxels)
    t1_ms = flash_recovery_t1(series, TIMES_MS, SEQUENCE).t1_ms.flatten().double()
    t = TIMES_MS
    rate = -math.log(math.cos(math.radians(5))) / SEQUENCE.tr_ms
    decay = torch.exp(-t * (1 / 1200 + rate))
    design = torch.stack([torch.ones_like(t), decay], 1)
    (_, b) = torch.linalg.lstsq(design, clean[0][:, None]).solution.flatten()
    jacobian = torch.cat([design, (b * decay * t / 1200**2)[:, None]], 1)
    bound = float(torch.linalg.inv(jacobian.mT @ jacobian)[2, 2].sqrt()) * sigma / math.sqrt(2)
    assert float(t1_ms.std()) == pytest.approx(bound, rel=0.12)
    assert abs(float(t1_ms.mean()) - 1200) < 4 * bound / math.sqrt(n_voxels)


def test_what_no_curve_explains_is_masked_not_shown() -> None:
    pure_noise = noise(344, 1, 1, 50)
    too_long = as_series(recovery_signal(torch.tensor([4000.0]), SEQUENCE)[:, 1::2])
    too_short = as_series(recovery_signal(torch.tensor([90.0]), SEQUENCE)[:, 1::2])
    decaying = as_series(torch.exp(-TIMES_MS / 500)[None] + 0.2)
    for series in (pure_noise, torch.zeros_like(pure_noise), too_long, too_short, decaying):
        fit = flash_recovery_t1(series, TIMES_MS, SEQUENCE, t1_range_ms=(100, 3000))
        assert not fit.valid.any()
        assert not fit.t1_ms.any()
        assert not fit.relative_residual.any()
    some_noise = noise(10, 1, 1, 50)
    assert not variable_flip_angle_t1(torch.zeros_like(some_noise), ANGLES_DEG, 5.38).valid.any()
    assert float(variable_flip_angle_t1(some_noise, ANGLES_DEG, 5.38).valid.float().mean()) < 0.1
    far = as_series(flash_signal(torch.tensor([8000.0, 20.0]), ANGLES_DEG))
    assert not variable_flip_angle_t1(far, ANGLES_DEG, 5.38).valid.any()


def test_many_voxels_are_those_of_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    series = as_series(recovery_signal(T1_MS, SEQUENCE)[:, 1::2])
    whole = flash_recovery_t1(series, TIMES_MS, SEQUENCE)
    monkeypatch.setattr("recon_core.dynamic.variable_projection.VOXELS_AT_ONCE", 4)
    torch.testing.assert_close(flash_recovery_t1(series, TIMES_MS, SEQUENCE).t1_ms, whole.t1_ms)


def test_series_that_do_not_fit_are_refused() -> None:
    series = noise(10, 1, 2, 2)
    with pytest.raises(InputError, match="at least 2 different values"):
        variable_flip_angle_t1(series, torch.full((10,), 5.0), 5.38)
    with pytest.raises(InputError, match="give one for each image"):
        flash_recovery_t1(series, TIMES_MS, SEQUENCE)
    with pytest.raises(InputError, match="resample it to their grid"):
        variable_flip_angle_t1(series, ANGLES_DEG, 5.38, flip_angle_scale=torch.ones(1, 3, 3))
    with pytest.raises(InputError, match="got NaN or Inf"):
        variable_flip_angle_t1(series * math.nan, ANGLES_DEG, 5.38)
