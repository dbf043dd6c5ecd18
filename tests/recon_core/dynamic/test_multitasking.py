"""The simulated scan: each spoke is the transform of the chest at its time, and the truth is what made it."""

from dataclasses import replace

import pytest
import torch
from torch.nn.functional import max_pool2d

from recon_core.dynamic.bloch import InversionRecovery, recovery_signal
from recon_core.dynamic.chest_phantom import chest_phantom
from recon_core.dynamic.motion import contraction
from recon_core.dynamic.moving_chest import FINER, on_image_grid
from recon_core.dynamic.multitasking import MultitaskingScan, Protocol, random_subject
from recon_core.dynamic.tissues import Tissue
from recon_core.errors import InputError
from recon_core.fourier import fft
from recon_core.metrics import nrmse
from recon_core.nufft import Nufft
from recon_core.simulate import loop_coil_maps
from recon_core.training.draws import Draws

PROTOCOL = Protocol(
    matrix=31, n_coils=3, n_spokes=40, snr=1e9, sequence=InversionRecovery(n_pulses=24, tr_ms=60.0)
)


def scan_of(protocol: Protocol = PROTOCOL, seed: int = 0) -> MultitaskingScan:
    return MultitaskingScan(random_subject(protocol, seed), protocol, seed)


def test_every_readout_is_the_nufft_of_the_chest_at_its_time() -> None:
    scan = scan_of()
    kspace = torch.cat(list(scan.kspace()))
    assert kspace.shape == (80, 3, 62)
    n = FINER * PROTOCOL.matrix
    maps = loop_coil_maps(3, (n, n))[:, None]
    signals = scan.chest.signals(4)
    for readout in (0, 1, 17, 46, 79):
        assert (scan.recovery[readout], scan.pulse[readout]) == (readout // 24, readout % 24)
        state = scan.motion.cardiac_phase[readout, None], scan.motion.respiration[readout, None]
        image = scan.chest.phase * scan.chest.seen(signals[readout // 24, readout % 24, None], *state)
        expected = Nufft(scan.trajectory[readout, None], (1, n, n))(maps * image)[:, 0] / FINER
        assert nrmse(kspace[readout], expected) < 1e-5


def test_frames_are_the_kspace_that_spokes_reach() -> None:
    chest = random_subject(PROTOCOL, 1)
    state = torch.tensor([0.3]), torch.tensor([0.8])
    frame = chest.frames(*state, torch.tensor([20]))
    fine = chest.phase * chest.seen(chest.signals(5)[-1, 20, None], *state)
    k = torch.tensor([[[-15.0, 0], [3, 4], [0, 12], [7, -11]]])
    expected = Nufft(k, (1, 62, 62))(fine)[0] / FINER
    kspace = fft(frame, (-2, -1))[0]
    x, y = (k[0] + 15).long().unbind(-1)
    assert nrmse(kspace[y, x], expected) < 1e-5
    assert kspace[0, 0].abs() < 1e-6
    assert chest.t1_maps_ms(*state).shape == chest.tissue_maps(*state).shape == frame.shape == (1, 31, 31)


def test_maps_lie_where_the_frames_show_the_tissue() -> None:
    for matrix in (31, 32):
        chest = random_subject(replace(PROTOCOL, matrix=matrix), 1)
        states = torch.tensor([0.0, 0.35]), torch.tensor([0.0, 1.0])
        is_body = chest.tissue_maps(*states) > 0
        magnitude = chest.frames(*states, torch.tensor([23, 23])).abs()
        bright = magnitude > 0.3 * magnitude.max()
        assert (is_body[bright]).float().mean() > 0.95


def test_matching_frames_to_blochs_equations_gives_the_t1_map_of_still_tissue() -> None:
    protocol = Protocol(matrix=64, sequence=InversionRecovery(n_pulses=40, tr_ms=60.0))
    chest = random_subject(protocol, 1)
    state = torch.full((20,), 0.36), torch.full((20,), 0.2)
    frames = chest.frames(*state, torch.arange(1, 40, 2)).flatten(1)
    t1_ms = torch.linspace(5.5, 7.8, 300).exp()
    dictionary = recovery_signal(t1_ms, protocol.sequence)[:, 1::2]
    dictionary = dictionary / dictionary.norm(dim=1, keepdim=True)
    matched_ms = t1_ms[(dictionary.to(frames) @ frames).abs().argmax(0)].view(64, 64)
    tissue, true_ms = (maps(*(s[:1] for s in state))[0] for maps in (chest.tissue_maps, chest.t1_maps_ms))
    for label in (Tissue.LIVER, Tissue.FAT, Tissue.MUSCLE):
        inside = max_pool2d((tissue != label).float()[None], 3, stride=1, padding=1)[0] == 0
        assert abs(float((matched_ms[inside] / true_ms[inside]).median()) - 1) < 0.02, label


def test_feature_maps_are_the_least_squares_fit_of_the_frames() -> None:
    scan = scan_of()
    basis = Draws(0).complex_normal(4, 40)
    signals = scan.chest.signals(4)
    spokes = torch.arange(1, 80, 2)
    seen = scan.chest.seen(
        signals[scan.recovery[spokes], scan.pulse[spokes]],
        scan.motion.cardiac_phase[spokes],
        scan.motion.respiration[spokes],
    )
    frames = on_image_grid(scan.chest.phase * seen).flatten(1)
    expected = torch.linalg.lstsq(basis.mT, frames).solution.view(4, 31, 31)
    assert nrmse(scan.feature_maps(basis), expected) < 1e-4


def test_navigators_alternate_with_spokes_at_the_golden_angle() -> None:
    scan = scan_of()
    assert scan.is_navigator.tolist() == [True, False] * 40
    assert not scan.angles_rad[::2].any()
    assert float(scan.angles_rad[3].rad2deg()) == pytest.approx(111.246, abs=1e-3)
    assert scan.trajectory[:, 31].abs().max() == 0
    assert float(scan.trajectory.norm(dim=-1).max()) == pytest.approx(15.5)
    assert scan.inversion_index[:6].tolist() == [0, 0, 1, 1, 2, 2]
    assert scan.inversion_times_ms[:2].tolist() == [67.2, 187.2]
    assert float(scan.motion.times_s[24] - scan.motion.times_s[0]) == pytest.approx((7.2 + 24 * 60) / 1000)


def test_noise_has_the_stated_covariance_and_ratio_to_the_signal() -> None:
    noisy = replace(PROTOCOL, snr=10.0, n_spokes=160)
    chest = random_subject(noisy, 0)
    scan, silent = MultitaskingScan(chest, noisy), MultitaskingScan(chest, replace(noisy, snr=1e9))
    noise = (torch.cat(list(scan.kspace())) - torch.cat(list(silent.kspace()))).transpose(0, 1).flatten(1)
    expected = scan.noise_mixing @ scan.noise_mixing.mH
    for sampled in (noise, scan.noise):
        assert nrmse(sampled @ sampled.mH / sampled.shape[1], expected) < 0.06
    body = chest.frames(torch.zeros(1), torch.zeros(1), torch.tensor([23])).abs()
    whitened_std = torch.linalg.inv(expected).diagonal().real.mean().rsqrt()
    assert float(body[body > 0.05 * body.max()].mean() / whitened_std) == pytest.approx(10, rel=1e-3)


def test_one_seed_is_one_scan_whatever_the_threads() -> None:
    first = torch.cat(list(scan_of(seed=3).kspace()))
    assert torch.equal(first, torch.cat(list(scan_of(seed=3).kspace(n_threads=3))))
    assert nrmse(torch.cat(list(scan_of(seed=4).kspace())), first) > 0.1


def test_the_heart_beats_and_the_chest_breathes_and_each_can_be_held() -> None:
    scan = scan_of()
    assert contraction(scan.motion.cardiac_phase).max() > 0.5
    assert scan.motion.respiration.max() > 0.5
    assert not scan_of(replace(PROTOCOL, has_heartbeat=False)).motion.cardiac_phase.any()


def test_impossible_scans_are_refused() -> None:
    with pytest.raises(InputError, match="spokes of at least one"):
        Protocol(n_spokes=0)
    with pytest.raises(InputError, match="even number of pulses"):
        Protocol(sequence=InversionRecovery(n_pulses=7))
    with pytest.raises(InputError, match="anatomy of 62 x 62"):
        random_subject(PROTOCOL, anatomy=chest_phantom(64, Draws(0)))
