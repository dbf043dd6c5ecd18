"""GRAPPA against window-by-window least squares, against closed forms, and on real scans against BART."""

from itertools import product
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from recon_core.errors import CalibrationError, InputError
from recon_core.fourier import fft, ifft, resize
from recon_core.grappa import (
    GrappaWeights,
    apply_grappa,
    grappa_weights,
    measured_between,
    unmix,
    unmixing,
)
from recon_core.metrics import nrmse
from recon_core.phantom import head_phantom
from recon_core.simulate import loop_coil_maps


def random_kspace(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(shape, dtype=torch.complex128, generator=torch.Generator().manual_seed(seed))


def every(
    acceleration: tuple[int, int], shape: tuple[int, int], offset: tuple[int, int] = (0, 0)
) -> torch.Tensor:
    sampled = torch.zeros(shape, dtype=torch.bool)
    sampled[offset[0] :: acceleration[0], offset[1] :: acceleration[1]] = True
    return sampled


def harmonic_coils(n_harmonics: tuple[int, int], grid: tuple[int, int, int]) -> torch.Tensor:
    """Coil maps e^(2πi(a·z/nz + b·y/ny)): each coil's k-space is the object's, shifted by (a, b)."""
    z, y, x = (torch.arange(n, dtype=torch.float64) - n // 2 for n in grid)
    maps = [
        torch.exp(2j * torch.pi * (a * z[:, None, None] / len(z) + b * y[:, None] / len(y))) + 0 * x
        for a, b in product(range(n_harmonics[0]), range(n_harmonics[1]))
    ]
    return torch.stack(maps)


def weights_window_by_window(
    calibration: np.ndarray, rates: tuple[int, int], kernel: tuple[int, int, int], target: tuple[int, int]
) -> np.ndarray:
    """Least squares over a list of windows, target line `target` past the base line: (source, coil)."""
    first = [-((n - 1) // 2) for n in kernel[:2]]
    n_coils, *grid = calibration.shape
    rows, wanted = [], []
    for z, y, x in product(*(range(n) for n in grid)):
        lines_z = [z + (first[0] + a) * rates[0] for a in range(kernel[0])]
        lines_y = [y + (first[1] + b) * rates[1] for b in range(kernel[1])]
        samples_x = [x + k - kernel[2] // 2 for k in range(kernel[2])]
        reach = [[*lines_z, z + rates[0] - 1], [*lines_y, y + rates[1] - 1], samples_x]
        if any(min(at) < 0 or max(at) >= n for at, n in zip(reach, grid, strict=True)):
            continue
        rows.append(calibration[np.ix_(range(n_coils), lines_z, lines_y, samples_x)].ravel())
        wanted.append(calibration[:, z + target[0], y + target[1], x])
    return np.linalg.lstsq(np.array(rows), np.array(wanted), rcond=None)[0]


@pytest.mark.parametrize(
    ("rates", "kernel", "shape"),
    [
        ((1, 2), (1, 4, 5), (2, 1, 14, 21)),
        ((1, 3), (1, 2, 3), (3, 1, 12, 14)),
        ((1, 3), (1, 3, 1), (2, 1, 13, 11)),
        ((1, 2), (1, 1, 3), (2, 2, 8, 9)),
        ((2, 2), (2, 3, 3), (2, 7, 9, 10)),
        ((2, 1), (3, 1, 3), (2, 8, 4, 8)),
    ],
)
def test_weights_are_least_squares_over_every_window(
    rates: tuple[int, int], kernel: tuple[int, int, int], shape: tuple[int, ...]
) -> None:
    calibration = random_kspace(*shape)
    weights = grappa_weights(calibration, rates, kernel=kernel, regularisation=1e-14)
    for t, target in enumerate(list(product(range(rates[0]), range(rates[1])))[1:]):
        expected = weights_window_by_window(calibration.numpy(), rates, kernel, target)
        np.testing.assert_allclose(weights.kernel[t].flatten(1).T.numpy(), expected, atol=1e-8)


@pytest.mark.parametrize(
    ("rates", "offset", "grid"),
    [
        ((1, 2), (0, 1), (1, 9, 8)),
        ((1, 3), (0, 2), (1, 10, 7)),
        ((2, 2), (1, 0), (5, 8, 6)),
        ((3, 1), (2, 0), (8, 3, 5)),
    ],
)
def test_missing_lines_are_the_weighted_sum_of_their_neighbours(
    rates: tuple[int, int], offset: tuple[int, int], grid: tuple[int, int, int]
) -> None:
    n_coils, kernel = 2, (1 if rates[0] == 1 else 2, 4, 3)
    n_targets = rates[0] * rates[1] - 1
    weights = GrappaWeights(random_kspace(n_targets, n_coils, n_coils, *kernel, seed=1), rates)
    sampled = every(rates, grid[:2], offset)
    kspace = random_kspace(n_coils, *grid) * sampled[..., None]
    filled = apply_grappa(weights, kspace, sampled)

    for z, y, x in product(*(range(n) for n in grid)):
        d = ((z - offset[0]) % rates[0], (y - offset[1]) % rates[1])
        if d == (0, 0):
            torch.testing.assert_close(filled[:, z, y, x], kspace[:, z, y, x])
            continue
        expected = torch.zeros(n_coils, dtype=kspace.dtype)
        for a, b, k in product(*(range(n) for n in kernel)):
            source = (
                z - d[0] + (a - (kernel[0] - 1) // 2) * rates[0],
                y - d[1] + (b - (kernel[1] - 1) // 2) * rates[1],
                x + k - kernel[2] // 2,
            )
            if all(0 <= at < n for at, n in zip(source, grid, strict=True)):
                expected += (
                    weights.kernel[d[0] * rates[1] + d[1] - 1, :, :, a, b, k] @ kspace[(slice(None), *source)]
                )
        torch.testing.assert_close(filled[:, z, y, x], expected)


@pytest.mark.parametrize(
    ("rates", "offset", "grid"),
    [
        ((1, 2), (0, 0), (1, 33, 24)),
        ((1, 3), (0, 1), (1, 40, 25)),
        ((2, 2), (1, 1), (22, 25, 16)),
        ((2, 1), (0, 0), (24, 14, 15)),
    ],
)
def test_noiseless_harmonic_coils_are_recovered_exactly(
    rates: tuple[int, int], offset: tuple[int, int], grid: tuple[int, int, int]
) -> None:
    small = tuple(n if n == 1 else n - 8 for n in grid)
    image = ifft(resize(random_kspace(*small, seed=2), grid))
    kspace = fft(harmonic_coils(rates, grid) * image)
    sampled = every(rates, grid[:2], offset)
    calibration = resize(kspace, tuple(min(n, 16) for n in grid))
    weights = grappa_weights(calibration, rates, kernel=(2, 2, 3), regularisation=1e-12)
    filled = apply_grappa(weights, kspace * sampled[..., None], sampled)
    assert nrmse(filled, kspace) < 1e-6


@pytest.mark.parametrize(
    ("rates", "grid"),
    [((1, 2), (1, 36, 31)), ((1, 4), (1, 48, 20)), ((2, 2), (18, 20, 12)), ((2, 3), (16, 27, 13))],
)
def test_unmixing_equals_filling_and_combining_but_for_the_edges(
    rates: tuple[int, int], grid: tuple[int, int, int]
) -> None:
    kernel = (1 if rates[0] == 1 else 2, 2, 3)
    weights = GrappaWeights(random_kspace(rates[0] * rates[1] - 1, 3, 3, *kernel, seed=1), rates)
    coil_maps = random_kspace(3, *grid, seed=2)
    sampled = every(rates, grid[:2], (0, 1))
    # Zeros at the edges, so that wrapping around and zero-padding agree.
    inner = tuple(n if n == 1 else n - 4 * rate - 2 for n, rate in zip(grid, (*rates, 1), strict=True))
    kspace = resize(random_kspace(2, 3, *inner), grid) * sampled[..., None]
    everywhere = apply_grappa(weights, kspace, sampled)
    expected = (coil_maps.conj() * ifft(everywhere)).sum(dim=1)
    torch.testing.assert_close(unmix(unmixing(weights, coil_maps), kspace, sampled, rates), expected)


@pytest.mark.parametrize(
    ("rates", "offset", "grid"),
    [((1, 2), (0, 0), (1, 24, 9)), ((1, 4), (0, 3), (1, 32, 8)), ((2, 3), (1, 2), (12, 24, 7))],
)
def test_lines_between_the_lattice_are_as_measured_with_what_unmixing_lacks(
    rates: tuple[int, int], offset: tuple[int, int], grid: tuple[int, int, int]
) -> None:
    kernel = (1 if rates[0] == 1 else 2, 4, 3)
    weights = GrappaWeights(random_kspace(rates[0] * rates[1] - 1, 3, 3, *kernel, seed=1), rates)
    lattice = every(rates, grid[:2], offset)
    whole = random_kspace(3, *grid)
    # A coil map of ones for one coil alone leaves that coil's image.
    each_coil = torch.eye(3, dtype=whole.dtype)[..., None, None, None].expand(3, 3, *grid)
    unmixed = [unmix(unmixing(weights, maps), whole, lattice, rates) for maps in each_coil]
    calculated = fft(torch.stack(unmixed))
    for block in (slice(8, 17), slice(0, 7), slice(-8, None)):
        sampled = lattice.clone()
        sampled[:, block] = True
        missed = measured_between(weights, whole * sampled[..., None], sampled)
        assert missed is not None
        torch.testing.assert_close(calculated + missed, torch.where(sampled[..., None], whole, calculated))
    assert measured_between(weights, whole * lattice[..., None], lattice) is None


def test_weights_serve_every_repetition_and_acquired_samples_stay() -> None:
    kspace = random_kspace(3, 2, 1, 24, 12)
    sampled = every((1, 2), (1, 24))
    sampled[:, 8:18] = True
    weights = grappa_weights(kspace[0, :, :, 8:18], (1, 2))
    filled = apply_grappa(weights, kspace * sampled[..., None], sampled)
    assert torch.equal(filled[:, :, sampled], kspace[:, :, sampled])
    for repetition in range(3):
        alone = apply_grappa(weights, kspace[repetition] * sampled[..., None], sampled)
        torch.testing.assert_close(filled[repetition], alone)


def test_lines_never_reached_by_partial_fourier_stay_zero() -> None:
    kspace = random_kspace(2, 1, 30, 8)
    sampled = every((1, 3), (1, 30))
    sampled[:, 19:] = False
    filled = apply_grappa(grappa_weights(kspace, (1, 3)), kspace * sampled[..., None], sampled)
    assert filled[:, :, 21:].abs().max() == 0
    assert (filled[:, :, :21].abs().amax(dim=(0, 1, 3)) > 0).all()


def test_complex64_follows_complex128() -> None:
    kspace = random_kspace(4, 1, 40, 30)
    sampled = every((1, 2), (1, 40))
    wide = apply_grappa(grappa_weights(kspace, (1, 2)), kspace, sampled)
    narrow = kspace.to(torch.complex64)
    filled = apply_grappa(grappa_weights(narrow, (1, 2)), narrow, sampled)
    assert filled.dtype == torch.complex64
    assert nrmse(filled.to(wide.dtype), wide) < 1e-5


@pytest.mark.cuda
def test_cuda_agrees_with_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    kspace = random_kspace(4, 10, 24, 16)
    sampled = every((2, 2), (10, 24))
    coil_maps = random_kspace(4, 10, 24, 16, seed=1)
    weights = grappa_weights(kspace, (2, 2))
    on_gpu = grappa_weights(kspace.cuda(), (2, 2))
    torch.testing.assert_close(
        apply_grappa(on_gpu, kspace.cuda(), sampled.cuda()).cpu(), apply_grappa(weights, kspace, sampled)
    )
    torch.testing.assert_close(unmixing(on_gpu, coil_maps.cuda()).cpu(), unmixing(weights, coil_maps))
    sampled[3:7, 8:16] = True
    missed = measured_between(on_gpu, kspace.cuda(), sampled.cuda())
    torch.testing.assert_close(missed.cpu(), measured_between(weights, kspace, sampled))


def test_too_little_calibration_names_what_is_needed() -> None:
    with pytest.raises(CalibrationError, match=r"\(1, 10, 5\).*got \(1, 9, 64\)"):
        grappa_weights(random_kspace(2, 1, 9, 64), (1, 3))
    with pytest.raises(CalibrationError, match="signal"):
        grappa_weights(torch.zeros((2, 1, 24, 24), dtype=torch.complex64), (1, 2))
    with pytest.raises(InputError, match="odd along kx"):
        grappa_weights(random_kspace(2, 1, 24, 24), (1, 2), kernel=(1, 4, 4))


def test_kspace_that_does_not_fit_the_weights_is_refused() -> None:
    weights = grappa_weights(random_kspace(2, 1, 24, 24), (1, 2))
    with pytest.raises(InputError, match="calibrate on the same coils"):
        apply_grappa(weights, random_kspace(3, 1, 24, 24), every((1, 2), (1, 24)))
    with pytest.raises(InputError, match="pattern of this k-space"):
        apply_grappa(weights, random_kspace(2, 1, 24, 24), every((1, 2), (1, 23)))


def read_raw(path: Path) -> torch.Tensor:
    """(coil, 1, ky, kx) of a fully sampled single-slice raw file."""
    with h5py.File(path, "r", locking=False) as file:
        readouts = file["dataset/data"][:]
    head = readouts["head"]
    n_coils, n_x = int(head["active_channels"][0]), int(head["number_of_samples"][0])
    lines = head["idx"]["kspace_encode_step_1"]
    kspace = np.zeros((int(lines.max()) + 1, n_coils, n_x), dtype=np.complex64)
    for line, readout in zip(lines, readouts["data"], strict=True):
        kspace[line] = readout.view(np.complex64).reshape(n_coils, n_x)
    return torch.from_numpy(kspace).transpose(0, 1)[:, None].contiguous()


@pytest.mark.parametrize(
    ("name", "rate", "limit"),
    [("brain_8ch_256x256", 2, 0.025), ("brain_8ch_256x256", 3, 0.043), ("brain_16ch_96x96", 2, 0.006)],
)
def test_real_scans_are_recovered_as_well_as_by_sense_of_bart(
    shared_data: Path, bart: Any, name: str, rate: int, limit: float
) -> None:
    """Both from the same lines, 24 calibration lines among them; magnitudes compared with the full scan."""
    kspace = read_raw(shared_data / "raw" / f"{name}.h5")
    n_y = kspace.shape[-2]
    centre = slice(n_y // 2 - 12, n_y // 2 + 12)
    sampled = every((1, rate), (1, n_y))
    sampled[:, centre] = True
    undersampled = kspace * sampled[..., None]
    weights = grappa_weights(kspace[:, :, centre], (1, rate))
    full = torch.linalg.vector_norm(ifft(kspace), dim=0)
    grappa = torch.linalg.vector_norm(ifft(apply_grappa(weights, undersampled, sampled)), dim=0)
    assert nrmse(grappa, full) < limit

    (coil_maps,) = bart("ecalib -m1 -c0 -r24", undersampled)
    (sense,) = bart("pics -l2 -r0.001 -i30", undersampled, coil_maps.view_as(kspace))
    image = sense.view(full.shape).abs() * torch.linalg.vector_norm(coil_maps.view_as(kspace), dim=0)
    head = full > 0.05 * full.max()
    scale = (image * full)[head].sum() / image[head].square().sum()
    assert nrmse(grappa[head], full[head]) < 1.05 * nrmse(scale * image[head], full[head])


def test_unmixing_of_a_head_differs_from_filling_by_the_edge_effect_alone() -> None:
    coil_maps = loop_coil_maps(6, (64, 60))[:, None]
    kspace = fft(coil_maps * head_phantom((64, 60)))
    sampled = every((1, 2), (1, 64))
    weights = grappa_weights(resize(kspace, (1, 24, 60)), (1, 2))
    filled = apply_grappa(weights, kspace * sampled[..., None], sampled)
    combined = (coil_maps.conj() * ifft(filled)).sum(dim=0)
    assert nrmse(unmix(unmixing(weights, coil_maps), kspace, sampled, (1, 2)), combined) < 0.01
