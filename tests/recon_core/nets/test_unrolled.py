"""The network we ship: what a new one gives, and what it may depend on."""

from dataclasses import replace

import torch

from recon_core.fourier import fft, ifft
from recon_core.masks import poisson_disc, random_lines
from recon_core.nets.registry import build
from recon_core.nets.undersampled import Undersampled, reconstruct
from recon_core.noise_level import estimated_noise_std
from recon_core.sense import wavelet_sense
from recon_core.simulate import simulate_acquisition

SMALL = {"n_cascades": 2, "widths": (8, 12), "wavelet_iterations": 15}


def scan(sampled: torch.Tensor, seed: int = 0) -> tuple[Undersampled, torch.Tensor]:
    simulated = simulate_acquisition((sampled.shape[0], sampled.shape[1]), 6, oversampling=1, seed=seed)
    kspace = simulated.kspace[:, :, 0] * sampled
    maps = simulated.coil_maps[:, :, 0]
    slices = Undersampled(kspace=kspace, sampled=sampled[None], coil_maps=maps)
    return slices, simulated.ground_truth[0, 0]


def test_a_new_cascade_of_one_puts_the_samples_into_the_wavelet_image() -> None:
    torch.manual_seed(0)
    slices = scan(poisson_disc((48, 40), 3, calibration=(12, 12)))[0].normalised()[0]
    with torch.no_grad():
        image = build("unrolled", SMALL | {"n_cascades": 1})(slices)
    assert slices.coil_maps is not None
    wavelets = wavelet_sense(
        slices.kspace[0][:, None], slices.coil_maps[0][:, None], slices.sampled, n_iterations=15
    )
    coil_kspace = fft(slices.coil_maps * wavelets, (-2, -1))
    kept = torch.where(slices.sampled[:, None], slices.kspace, coil_kspace)
    expected = (slices.coil_maps.conj() * ifft(kept, (-2, -1))).sum(1)
    torch.testing.assert_close(image, expected, rtol=0, atol=0.01 * float(expected.abs().max()))


def test_the_share_is_between_the_wavelet_and_the_refined_image_but_not_in_training() -> None:
    torch.manual_seed(0)
    slices = scan(random_lines((48, 40), 3, n_calibration=10))[0].normalised()[0]
    networks = {share: build("unrolled", SMALL | {"share": share}) for share in (0.0, 0.5, 1.0)}
    for network in networks.values():
        network.load_state_dict(networks[1.0].state_dict())
    with torch.no_grad():
        trained = [network.train()(slices) for network in networks.values()]
        nothing, half, everything = (network.eval()(slices) for network in networks.values())
    torch.testing.assert_close(half, (nothing + everything) / 2)
    assert slices.coil_maps is not None
    wavelets = wavelet_sense(
        slices.kspace[0][:, None],
        slices.coil_maps[0][:, None],
        slices.sampled,
        n_iterations=15,
        noise_std=estimated_noise_std(slices.kspace, slices.sampled)[0],
    )
    torch.testing.assert_close(nothing, wavelets)
    assert all(torch.equal(image, everything) for image in trained)


def test_what_folds_in_is_explained_by_a_second_set_of_maps() -> None:
    torch.manual_seed(0)
    one, image = scan(random_lines((64, 64), 2, n_calibration=16))
    assert one.coil_maps is not None
    # What lies half a field of view away, seen by maps that are orthogonal to the first at every pixel.
    maps, folded = one.coil_maps[0], 0.5 * image.roll(32, 0)
    other = maps.roll((2, 32), (0, 1))
    other = other - maps * (maps.conj() * other).sum(0)
    other = other / other.abs().square().sum(0).sqrt().clamp(min=1e-6)
    both = (one.kspace[0] + fft(other * folded, (-2, -1))) * one.sampled
    expected = (image.abs().square() + folded.abs().square()).sqrt()
    network = build("unrolled", SMALL | {"n_cascades": 1, "wavelet_iterations": 60}).eval()

    def error(second_maps: torch.Tensor | None) -> float:
        slices = replace(one, kspace=both[None], second_maps=second_maps, noise_std=torch.tensor([0.01]))
        with torch.no_grad():
            found = reconstruct(network, slices)[0].abs()
        return float((found - expected).norm() / expected.norm())

    assert error(other[None]) < 0.3 * error(None)
    assert error(other[None]) < 0.1


def test_slices_of_a_batch_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    network = build("unrolled", SMALL).eval()
    first, second = (scan(random_lines((50, 46), 3, n_calibration=10, seed=s), s)[0] for s in (1, 2))
    both = Undersampled(
        kspace=torch.cat([first.kspace, second.kspace]),
        sampled=torch.cat([first.sampled, second.sampled]),
        coil_maps=torch.cat([first.coil_maps, second.coil_maps]),  # type: ignore[list-item]
    )
    with torch.no_grad():
        together = network(both)
        alone = torch.cat([network(first), network(second)])
    torch.testing.assert_close(together, alone, rtol=1e-3, atol=1e-3 * float(alone.abs().max()))


def test_every_parameter_learns() -> None:
    torch.manual_seed(0)
    network = build("unrolled", SMALL)
    slices, _ = scan(random_lines((48, 48), 3, n_calibration=10))
    for _ in range(3):  # blocks that start as identities pass gradients on once they are none
        network.zero_grad()
        network(slices.normalised()[0]).abs().square().sum().backward()
        with torch.no_grad():
            for parameter in network.parameters():
                assert parameter.grad is not None
                parameter -= 1e-3 * parameter.grad.sign()
    assert all(bool(parameter.grad.any()) for parameter in network.parameters() if parameter.grad is not None)


def test_a_single_uniform_coil_needs_no_maps() -> None:
    torch.manual_seed(0)
    sampled = random_lines((64, 64), 3, n_calibration=12)
    slices, _ = scan(sampled)
    kspace = slices.kspace[:, :1]
    without = Undersampled(kspace=kspace, sampled=sampled[None])
    with_maps = Undersampled(kspace=kspace, sampled=sampled[None], coil_maps=torch.ones_like(kspace))
    network = build("unrolled", SMALL).eval()
    with torch.no_grad():
        images = [network(slices.normalised()[0]) for slices in (without, with_maps)]
    torch.testing.assert_close(*images, rtol=1e-2, atol=1e-2 * float(images[0].abs().max()))
