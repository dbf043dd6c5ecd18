"""Real scans that lose samples, and what the server would calibrate from those that are left."""

from dataclasses import dataclass

import torch

from recon_core.calibration import calibration_block
from recon_core.coils.combine import combined_sets, rss, sense_combine
from recon_core.coils.compression import apply_coil_matrix, geometric_compression, svd_compression
from recon_core.coils.espirit import espirit
from recon_core.fourier import ifft, resize
from recon_core.masks import equispaced_lines, poisson_disc, random_lines
from recon_core.metrics import psnr, ssim

N_COILS = 8
FEWEST_CALIBRATION, MOST_CALIBRATION = 11, 24
"""Lines or points across; the server leaves scans of fewer to the fallback."""
Shape = tuple[int, int]


@dataclass(frozen=True, eq=False)
class Case:
    """One scan at one sampling pattern. Nothing but the references has seen samples that were taken away."""

    kspace: torch.Tensor
    """`(coil, 1, ky, kx)`, compressed to at most `N_COILS` and zero where not sampled."""
    sampled: torch.Tensor
    """`(ky, kx)` boolean."""
    calibration: torch.Tensor
    """`(coil, 1, ky, kx)`: the sampled centre."""
    coil_maps: torch.Tensor
    """`(set, coil, 1, y, x)`, two sets of ESPIRiT maps of the centre, as the server has them."""
    reference: torch.Tensor
    """`(1, y, x)`: magnitude of all samples, combined by the same maps; what the network is trained for."""
    rss: torch.Tensor
    """`(1, y, x)`: root of the sum of squares of all samples and of all coils that were measured."""

    def combined(self, coil_images: torch.Tensor) -> torch.Tensor:
        """`(1, y, x)` complex, of `(coil, 1, y, x)`."""
        return combined_by(coil_images, self.coil_maps)

    def scores(self, image: torch.Tensor) -> torch.Tensor:
        """PSNR in dB and SSIM against the reference, then both against the root of the sum of squares.

        Zero counts where maps are: there the reference is none, and what wavelet SENSE has there is nobody's.
        """
        image = image.abs() * (self.reference > 0)
        return torch.tensor([m(image, full) for full in (self.reference, self.rss) for m in (psnr, ssim)])


def mask(pattern: str, shape: Shape, rate: int, seed: int) -> torch.Tensor | None:
    """`(ky, kx)`; None where the calibration region would be most of what the rate leaves.

    At most half of the samples are calibration, down to what coil maps need.
    """
    if pattern == "poisson_disc":
        n_across = min(MOST_CALIBRATION, int((shape[0] * shape[1] / rate / 2) ** 0.5))
        return poisson_disc(shape, rate, calibration=(n_across, n_across), seed=seed)
    n_lines = round(shape[0] / rate)
    n_calibration = min(MOST_CALIBRATION, max(FEWEST_CALIBRATION, n_lines // 2))
    if pattern == "equispaced_lines":
        return equispaced_lines(shape, rate, n_calibration=n_calibration, seed=seed)
    if n_calibration > 0.75 * n_lines:
        return None
    return random_lines(shape, rate, n_calibration=n_calibration, seed=seed)


def undersampled_case(full: torch.Tensor, sampled: torch.Tensor) -> Case:
    """Of `(coil, 1, ky, kx)`; channels compressed as the recipes do, by one matrix where lines have gaps."""
    all_coils = rss(ifft(full))
    measured = full * sampled
    block = calibration_block(sampled[..., None])
    assert block is not None
    centre = (slice(None), slice(None), *block[:2])
    calibration = measured[centre]
    if len(full) > N_COILS:
        is_lines = calibration.shape[-1] == full.shape[-1]
        compression = geometric_compression if is_lines else svd_compression
        matrix = compression(calibration, N_COILS)
        full = apply_coil_matrix(matrix, full)
        measured = full * sampled
        calibration = measured[centre]
    small = resize(calibration, [min(n, MOST_CALIBRATION) for n in calibration.shape[1:]])
    coil_maps = espirit(small, (1, sampled.shape[0], sampled.shape[1]), n_maps=2).maps
    return Case(
        kspace=measured,
        sampled=sampled,
        calibration=calibration,
        coil_maps=coil_maps,
        reference=combined_by(ifft(full), coil_maps).abs(),
        rss=all_coils,
    )


def combined_by(coil_images: torch.Tensor, coil_maps: torch.Tensor) -> torch.Tensor:
    """`(1, y, x)` of `(coil, 1, y, x)` images and `(set, coil, 1, y, x)` maps."""
    return combined_sets(sense_combine(coil_images, coil_maps))
