"""The sensitivity encoding operator, y = M F S x, and its fast normal form."""

import math
from collections.abc import Callable
from functools import cached_property

import torch

from recon_core import fourier
from recon_core.errors import InputError
from recon_core.linop import LinearOperator

Projection = Callable[[torch.Tensor], torch.Tensor]

COIL_BLOCK_ELEMENTS = 1 << 16
"""Samples of coil images the normal operator transforms at once: 512 KB in complex64, which stay in cache."""


class SenseOperator(LinearOperator):
    """Image to multi-coil k-space: y_c = M F Σ_s S_sc x_s.

    F is the centred orthonormal Fourier transform, M keeps the sampled positions and zeros the others.
    Pruessmann et al. 2001, doi:10.1002/mrm.1241; map sets: Uecker et al. 2014, doi:10.1002/mrm.24751.

    Args:
        coil_maps: S, complex, (coil, z, y, x) or (set, coil, z, y, x).
        sampled: M, boolean, broadcastable to (kz, ky, kx).
        axes: that F transforms. Along the others, maps and M count separate problems: axes (-2, -1) makes z
            a batch of slices, each with its own maps and M.

    Images are (*batch, z, y, x), or (*batch, set, z, y, x) where the maps have sets; k-space is
    (*batch, coil, kz, ky, kx). What `adjoint` is given at positions not sampled is ignored, NaN included.
    """

    def __init__(
        self, coil_maps: torch.Tensor, sampled: torch.Tensor, axes: tuple[int, ...] = fourier.SPATIAL_AXES
    ) -> None:
        if coil_maps.ndim not in (4, 5) or not coil_maps.is_complex():
            raise InputError(
                f"SENSE: expected complex coil maps ([set,] coil, z, y, x), got {coil_maps.dtype} "
                f"{tuple(coil_maps.shape)}; reshape them, with z = 1 in 2-D"
            )
        matrix = coil_maps.shape[-3:]
        if sampled.dtype != torch.bool or not _broadcasts_to(sampled.shape, matrix):
            raise InputError(
                f"SENSE: expected a boolean sampling mask broadcastable to {tuple(matrix)}, got "
                f"{sampled.dtype} {tuple(sampled.shape)}; give True where k-space was measured"
            )
        self.has_sets = coil_maps.ndim == 5
        self.coil_maps = coil_maps if self.has_sets else coil_maps[None]
        self.sampled = sampled.to(coil_maps.device).expand(matrix)
        self.axes = axes

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """M F S x."""
        image = x if self.has_sets else x.unsqueeze(-4)
        self._check_shape("image ([set,] z, y, x)", image, self.coil_maps[:, 0])
        kspace = fourier.fft(coil_images_of(self.coil_maps, image), self.axes)
        return torch.where(self.sampled, kspace, 0)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        """Sᴴ Fᴴ M y."""
        self._check_shape("k-space (coil, kz, ky, kx)", y, self.coil_maps[0])
        coil_images = fourier.ifft(torch.where(self.sampled, y, 0), self.axes)
        image = coil_images.new_zeros(*y.shape[:-4], *self.coil_maps[:, 0].shape)
        add_conjugate_combination(image, self.coil_maps, coil_images.conj_physical())
        return self._without_set_axis(image.conj_physical())

    @cached_property
    def normal(self) -> LinearOperator:
        """Sᴴ Fᴴ M F S, without the shifts of the centred transform and the axes along which M is constant."""
        return _SenseNormal(self)

    def max_eigenvalue_bound(self) -> float:
        """An upper bound of the eigenvalues of AᴴA, from the maps alone: F is unitary and M a projection."""
        return max_map_power(self.coil_maps)

    def _without_set_axis(self, image: torch.Tensor) -> torch.Tensor:
        return image if self.has_sets else image.squeeze(-4)

    def _check_shape(self, what: str, array: torch.Tensor, like: torch.Tensor) -> None:
        if array.shape[-4:] != like.shape:
            raise InputError(
                f"SENSE: expected {what} to end in {tuple(like.shape)} as the coil maps do, got "
                f"{tuple(array.shape)}; use maps of this scan's coils and matrix"
            )


class CoilwiseNormal(LinearOperator):
    """Sᴴ P S for a self-adjoint P that acts on the image of each coil, a block of coils at a time.

    Args:
        coil_maps: S, (set, coil, z, y, x).
        projection: P, of (*batch, coil, z, y, x).
        has_sets: whether images have the set axis.
    """

    def __init__(self, coil_maps: torch.Tensor, projection: Projection, has_sets: bool) -> None:
        self.coil_maps, self.projection, self.has_sets = coil_maps, projection, has_sets

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        image = x if self.has_sets else x.unsqueeze(-4)
        conjugate = torch.zeros_like(image)
        n_coils_in_block = max(1, COIL_BLOCK_ELEMENTS // (image[..., 0, :, :, :].numel() or 1))
        for coil_maps in torch.split(self.coil_maps, n_coils_in_block, dim=1):
            coil_images = self.projection(coil_images_of(coil_maps, image))
            add_conjugate_combination(conjugate, coil_maps, coil_images.conj_physical_())
        result = conjugate.conj_physical_()
        return result if self.has_sets else result.squeeze(-4)

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.forward(y)


class _SenseNormal(LinearOperator):
    """Sᴴ Fᴴ M F S for a `SenseOperator`.

    FᴴMF is a convolution, so that it commutes with the shifts of the centred transform: shifting M once
    replaces shifting the data every time. Along an axis on which M is constant the two transforms cancel. The
    other axes are moved last, where transforms are fastest.
    """

    def __init__(self, sense_op: SenseOperator) -> None:
        sampled = sense_op.sampled
        varying = [axis for axis in sense_op.axes if bool((sampled != sampled.narrow(axis, 0, 1)).any())]
        constant = [axis for axis in (-3, -2, -1) if axis not in varying]
        self.axis_order = [*constant, *varying]
        self.transformed = tuple(range(-len(varying), 0))
        mask = self._permuted(torch.fft.ifftshift(sampled, dim=sense_op.axes))
        n_transformed = math.prod(mask.shape[axis] for axis in self.transformed)
        # Complex by complex is the faster product; and the scale is ours, see recon_core.fourier.
        self.mask = mask.to(sense_op.coil_maps.dtype) / n_transformed
        self.coilwise = CoilwiseNormal(self._permuted(sense_op.coil_maps), self._projected, sense_op.has_sets)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self._permuted_back(self.coilwise(self._permuted(x)))

    def adjoint(self, y: torch.Tensor) -> torch.Tensor:
        return self.forward(y)

    def _projected(self, coil_images: torch.Tensor) -> torch.Tensor:
        """Fᴴ M F."""
        if not self.transformed:
            return coil_images * self.mask
        kspace: torch.Tensor = torch.fft.fftn(coil_images, dim=self.transformed)
        projected: torch.Tensor = torch.fft.ifftn(
            kspace.mul_(self.mask), dim=self.transformed, norm="forward"
        )
        return projected

    def _permuted(self, array: torch.Tensor) -> torch.Tensor:
        leading = range(array.ndim - 3)
        return array.permute(*leading, *self.axis_order).contiguous()

    def _permuted_back(self, array: torch.Tensor) -> torch.Tensor:
        return array.movedim((-3, -2, -1), self.axis_order).contiguous()


def coil_images_of(coil_maps: torch.Tensor, image: torch.Tensor) -> torch.Tensor:
    """Σ_s S_sc x_s: (set, coil, z, y, x) and (*batch, set, z, y, x) to (*batch, coil, z, y, x)."""
    per_set = image.unsqueeze(-4).unbind(-5)
    coil_images = coil_maps[0] * per_set[0]
    for maps, part in zip(coil_maps[1:], per_set[1:], strict=True):
        coil_images.addcmul_(maps, part)
    return coil_images


def add_conjugate_combination(
    image: torch.Tensor, coil_maps: torch.Tensor, conjugate_coil_images: torch.Tensor
) -> None:
    """Add Σ_c S_sc conj(x_c), the conjugate of Sᴴ x, to `image` in place.

    Conjugating what is combined, not the maps, keeps one copy of the maps in memory and in cache.
    """
    for number, maps in enumerate(coil_maps):
        part = image.select(-4, number)
        for coil_map, coil_image in zip(maps, conjugate_coil_images.unbind(-4), strict=True):
            part.addcmul_(coil_map, coil_image)


def max_map_power(coil_maps: torch.Tensor) -> float:
    """An upper bound of the eigenvalues of SᴴS for maps (set, coil, z, y, x).

    None is above the largest one of the sets' Gram matrices Σ_c conj(S_sc) S_tc at a pixel. Their largest
    absolute row sum bounds it; it is equal for one set and for orthogonal ones.
    """
    row_sums = [
        sum(torch.linalg.vecdot(maps, others, dim=0).abs() for others in coil_maps) for maps in coil_maps
    ]
    return max(float(torch.as_tensor(row_sum).max()) for row_sum in row_sums)


def _broadcasts_to(shape: torch.Size, wanted: torch.Size) -> bool:
    aligned = zip(reversed(shape), reversed(wanted), strict=False)
    return len(shape) <= len(wanted) and all(length in (1, whole) for length, whole in aligned)
