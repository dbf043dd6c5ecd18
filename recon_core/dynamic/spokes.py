"""k-space along a spoke of an image that changes from one spoke to the next."""

import math

import finufft
import torch

ACCURACY = 1e-5


class SpokeSampler:
    """y_c(k) = scale·Σ_r S_c(r)·x(r)·e^(−2πi k·r) along lines through k = 0, each of another image x.

    Along a line the sum over the plane is that over one coordinate, p = r·(cos θ, sin θ): a one-dimensional
    non-uniform transform, many times faster for a single spoke than the two-dimensional one. Where θ = 0 the
    points lie on a grid, and columns are added up first.

    Args:
        coil_maps: S, `(coil, y, x)` on the grid of the images, square; phases of the images are theirs.
        object_mask: `(y, x)`: where images may differ from zero.
        radius: k of the samples along a spoke, in cycles per field of view, at equal steps, 0 at its
            index n // 2.
        scale: of the sum.
    """

    def __init__(
        self, coil_maps: torch.Tensor, object_mask: torch.Tensor, radius: torch.Tensor, scale: float
    ) -> None:
        n = coil_maps.shape[-1]
        self.pixels = torch.nonzero(object_mask.flatten())[:, 0]
        self.maps_at_pixels = torch.view_as_real(scale * coil_maps.flatten(1)[:, self.pixels])
        turns = (torch.arange(n, dtype=torch.float64) - n // 2) / n
        self.y = 2 * math.pi * float(radius[1] - radius[0]) * turns[self.pixels // n]
        self.x = 2 * math.pi * float(radius[1] - radius[0]) * turns[self.pixels % n]
        self.columns = torch.view_as_real(scale * coil_maps.permute(2, 1, 0)).flatten(2).contiguous()
        self.along_x = torch.exp(-2j * math.pi * turns[:, None] * radius.double()).to(torch.complex64)
        self.n_samples = len(radius)

    def at_angle(self, image: torch.Tensor, angle_rad: float) -> torch.Tensor:
        """`(coil, sample)` along the direction (cos θ, sin θ) of (kx, ky), of a real image `(y, x)`."""
        points = math.cos(angle_rad) * self.x + math.sin(angle_rad) * self.y
        strengths = torch.view_as_complex(self.maps_at_pixels * image.flatten()[self.pixels, None])
        # Several threads would add up in any order, and two runs differ in their last bits.
        samples = finufft.nufft1d1(
            points.float().numpy(),
            strengths.numpy(),
            self.n_samples,
            eps=ACCURACY,
            isign=-1,
            nthreads=1,
            spread_sort=0,
        )
        return torch.from_numpy(samples)

    def along_kx(self, images: torch.Tensor) -> torch.Tensor:
        """`(image, coil, sample)` at θ = 0, of real images `(image, y, x)`."""
        projections = torch.bmm(images.permute(2, 0, 1), self.columns)
        projections = projections.reshape(*projections.shape[:2], -1, 2)
        return torch.einsum("xic,xk->ick", torch.view_as_complex(projections), self.along_x)
