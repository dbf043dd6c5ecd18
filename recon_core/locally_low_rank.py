"""Singular values of image patches, made smaller: what is alike in a patch needs few of them."""

import torch


def locally_low_rank_threshold(
    features: torch.Tensor,
    threshold: float,
    *,
    block: int = 8,
    shift: tuple[int, int] = (0, 0),
) -> torch.Tensor:
    """The proximal map of ``threshold · Σ_b ‖B_b U‖_*``: each block's singular values reduced by `threshold`.

    B_b takes the voxels of a block of one plane as rows and the coefficients as columns. Blocks do not
    overlap; a new random `shift` in every iteration keeps their borders out of the image. Trzasko & Manduca
    2011 (ISMRM, p. 4371); Zhang et al. 2015, doi:10.1002/mrm.25161.

    Args:
        features: U, (L, z, y, x).
        threshold: for the singular values.
        block: its side in voxels; blocks at the far border are smaller where the image is no multiple.
        shift: (y, x) the image is rolled by before it is cut.
    """
    rolled = features.roll(shift, (-2, -1))
    result = torch.empty_like(rolled)
    n_y, n_x = rolled.shape[-2:]
    whole_y, whole_x = n_y - n_y % block, n_x - n_x % block
    for rows in (slice(0, whole_y), slice(whole_y, n_y)):
        for columns in (slice(0, whole_x), slice(whole_x, n_x)):
            part = rolled[..., rows, columns]
            if part.numel():
                result[..., rows, columns] = _thresholded(part, threshold, block)
    return result.roll((-shift[0], -shift[1]), (-2, -1))


def _thresholded(part: torch.Tensor, threshold: float, block: int) -> torch.Tensor:
    """Of whole blocks along both axes, or of one row or column of smaller ones."""
    n_y, n_x = part.shape[-2:]
    side_y, side_x = min(block, n_y), min(block, n_x)
    blocks = part.reshape(*part.shape[:2], n_y // side_y, side_y, n_x // side_x, side_x)
    matrices = blocks.permute(1, 2, 4, 3, 5, 0)  # (z, block y, block x, y, x, L)
    shrunk = singular_value_threshold(matrices.flatten(3, 4), threshold)
    return shrunk.reshape(matrices.shape).permute(5, 0, 1, 3, 2, 4).reshape(part.shape)


def singular_value_threshold(matrices: torch.Tensor, threshold: float) -> torch.Tensor:
    """The proximal map of the nuclear norm of each of (*batch, row, column): σ to max(σ − threshold, 0).

    By the eigenvectors of the Gram matrices of the columns, of which there had better be few. Cai et al.
    2010, doi:10.1137/080738970.
    """
    power, vectors = torch.linalg.eigh(matrices.mH @ matrices)
    singular = power.clamp_min(torch.finfo(power.dtype).tiny).sqrt()
    kept = (singular - threshold).clamp_min(0) / singular
    shrunk: torch.Tensor = matrices @ ((vectors * kept[..., None, :]) @ vectors.mH)
    return shrunk
