"""What `Accumulate` refuses."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gadgets.records import Readouts
from recon_core.errors import InputError
from tests.gadgets.accumulating import ENCODING, KSPACE, N_COILS, N_X, N_Y, accumulated, lines, reference
from tests.gadgets.small_scan import encoding, noise_readout, readouts, with_header


def broken(value: complex) -> Readouts:
    block = readouts(KSPACE)
    data = block.data.copy()
    data[4, 1, 7] = value
    return replace(block, data=data)


@pytest.mark.parametrize(
    ("blocks", "scan", "said"),
    [
        ([], ENCODING, "no readouts"),
        ([noise_readout(N_COILS, N_X)], ENCODING, "no readouts that make an image"),
        ([reference(1)], ENCODING, "no readouts that make an image"),
        ([readouts(KSPACE, slice=4)], ENCODING, "slice between its encoding limits 0 and 3, got 4 at"),
        ([readouts(KSPACE, lines(11))], encoding((N_X, 8, 1), limits={"kspace_encoding_step_1": (0, 20, 0)}),
         r"kspace_encode_step_1 inside the encoded matrix of 8 .* got 11 at scan counter 1"),
        ([readouts(KSPACE), readouts(KSPACE[:2])], ENCODING, "3 channels as the scan began, got 2"),
        ([readouts(KSPACE), readouts(KSPACE[..., 2:])], ENCODING, "16 samples as the scan began, got 14"),
        ([readouts(KSPACE)], encoding((8, N_Y, 1)), "fit the encoded matrix of 8 samples"),
        ([broken(np.nan)], ENCODING, r"NaN or Inf in the line of kspace_encode_step_1 4.*scan counter 5"),
        ([broken(np.inf)], ENCODING, r"NaN or Inf in the line of kspace_encode_step_1 4.*scan counter 5"),
        ([readouts(KSPACE)], encoding((N_X, N_Y, 1), trajectory="radial"), "got 'radial'"),
        ([with_header(readouts(KSPACE), encoding_space_ref=2)], ENCODING, "encoding number 2"),
    ],
)  # fmt: skip
def test_what_cannot_be_used_is_refused_with_its_reason(blocks: list[Readouts], scan: str, said: str) -> None:
    with pytest.raises(InputError, match=said):
        accumulated(blocks, scan)


def test_memory_is_checked_before_it_is_taken() -> None:
    huge = encoding((N_X, 60_000, 1000))
    with pytest.raises(InputError, match="max_bytes"):
        accumulated([readouts(KSPACE)], huge)
    begun = [readouts(KSPACE, slice=place, last=()) for place in range(4)]
    with pytest.raises(InputError, match="images in progress"):
        accumulated(begun, max_bytes=30_000)


def test_large_finite_samples_are_not_taken_for_infinite() -> None:
    bright = np.full(KSPACE.shape, 3e38, np.complex64)
    (kspace,) = accumulated([readouts(bright)])
    assert torch.equal(kspace.data, torch.from_numpy(bright))
