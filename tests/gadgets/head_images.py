"""A simulated head: its k-space, accumulated, and the images that gadgets make of it."""

from typing import Any

import numpy as np
import torch

from gadgets.accumulate import Accumulate
from gadgets.gadget import Context, Gadget
from gadgets.records import ImageSeries, KSpace
from recon_core.masks import random_lines
from recon_core.metrics import nrmse
from tests.gadgets.small_scan import context, encoding, flagged, head_kspace, readouts

N = 64
KSPACE, TRUTH = head_kspace(8, (N, N))
ENCODING = encoding((N, N, 1))
EVERY_SECOND = sorted({*range(0, N, 2), *range(20, 44)})
IRREGULAR = random_lines((N, 1), 2.5, n_calibration=14)[:, 0].nonzero().flatten().tolist()


def kspace_of(
    lines: list[int] | None = None,
    scan: Context | None = None,
    reference: range = range(0),
    data: torch.Tensor = KSPACE,
) -> KSpace:
    """The lines accumulated; those in `reference` flagged as calibration and imaging."""
    block = readouts(data.numpy(), None if lines is None else [(0, y) for y in lines])
    y = block.headers["idx"]["kspace_encode_step_1"]
    block = flagged(block, np.isin(y, list(reference)), "IS_PARALLEL_CALIBRATION_AND_IMAGING")
    (kspace,) = Accumulate()([block], scan or context(ENCODING))
    return kspace


def image_of(kspace: KSpace, *gadgets: Gadget) -> ImageSeries:
    items: Any = [kspace]
    for gadget in gadgets:
        items = list(gadget(items, context(ENCODING)))
    (image,) = items
    assert isinstance(image, ImageSeries)
    return image


def error(image: ImageSeries) -> float:
    assert len(image.data) == 1
    return nrmse(image.data[0].abs(), TRUTH)
