"""Every sample in its place, and averaged as often as it was acquired."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from gadgets.records import Readouts
from tests.gadgets.accumulating import KSPACE, N_COILS, N_X, N_Y, accumulated, averages, lines
from tests.gadgets.small_scan import encoding, flagged, joined, random_complex, readouts, with_header


def test_every_sample_comes_back_where_it_was() -> None:
    order = np.random.default_rng(3).permutation(N_Y)
    (kspace,) = accumulated([readouts(KSPACE, lines(*order))])
    assert torch.equal(kspace.data, torch.from_numpy(KSPACE))
    assert kspace.sampled.all()
    assert kspace.calibration is None
    assert kspace.notes == ()


def test_lines_are_placed_by_the_centre_of_their_limits() -> None:
    scan = encoding((N_X, N_Y, 1), limits={"kspace_encoding_step_1": (0, 7, 3)})
    (kspace,) = accumulated([readouts(KSPACE[:, :, :8], lines(*range(8)))], scan)
    first = N_Y // 2 - 3
    assert torch.equal(kspace.data[:, :, first : first + 8], torch.from_numpy(KSPACE[:, :, :8]))
    assert kspace.sampled.any(-1)[0].nonzero().flatten().tolist() == list(range(first, first + 8))
    assert kspace.notes == ()


@pytest.mark.parametrize("n", [(5, 7), (4, 6), (1, 2)])
def test_a_centre_that_was_never_filled_in_is_the_only_one_that_fits(n: tuple[int, int]) -> None:
    n_z, n_y = n
    volume = random_complex((N_COILS, n_z, n_y, 9))
    limits = {"kspace_encoding_step_1": (0, n_y - 1, 0), "kspace_encoding_step_2": (0, n_z - 1, 0)}
    (kspace,) = accumulated([readouts(volume)], encoding((9, n_y, n_z), limits=limits))
    assert torch.equal(kspace.data, torch.from_numpy(volume))
    assert kspace.notes == ()


def test_three_dimensions_with_odd_sizes() -> None:
    volume = random_complex((N_COILS, 5, 7, 9))
    (kspace,) = accumulated([readouts(volume)], encoding((9, 7, 5)))
    assert torch.equal(kspace.data, torch.from_numpy(volume))


def test_an_asymmetric_echo_puts_its_centre_sample_in_the_centre() -> None:
    block = with_header(readouts(KSPACE[..., 5:]), center_sample=N_X // 2 - 5)
    (kspace,) = accumulated([block])
    assert torch.equal(kspace.data[..., 5:], torch.from_numpy(KSPACE[..., 5:]))
    assert not kspace.sampled[..., :5].any()
    assert kspace.sampled[..., 5:].all()
    assert not kspace.data[..., :5].any()


def test_discarded_samples_are_left_out() -> None:
    (kspace,) = accumulated([with_header(readouts(KSPACE), discard_pre=2, discard_post=3)])
    assert torch.equal(kspace.data[..., 2:-3], torch.from_numpy(KSPACE[..., 2:-3]))
    assert kspace.sampled[0, 0].nonzero().flatten().tolist() == list(range(2, N_X - 3))


def test_reversed_readouts_are_flipped() -> None:
    block = readouts(KSPACE)
    turned = block.data.copy()
    turned[1::2] = turned[1::2, :, ::-1]
    (kspace,) = accumulated([flagged(replace(block, data=turned), slice(1, None, 2), "IS_REVERSE")])
    assert torch.equal(kspace.data, torch.from_numpy(KSPACE))


def test_a_whole_readout_without_centre_sample_is_centred() -> None:
    (kspace,) = accumulated([with_header(readouts(KSPACE), center_sample=0)])
    assert torch.equal(kspace.data, torch.from_numpy(KSPACE))


def test_header_is_that_of_the_central_line() -> None:
    block = readouts(KSPACE)
    (kspace,) = accumulated([block])
    assert kspace.header == block.headers[N_Y // 2]


def test_averages_interleaved_line_by_line_count_each_line() -> None:
    blocks, mean = averages(2)
    order = np.arange(2 * N_Y).reshape(2, N_Y).T.ravel()
    whole = joined(*blocks).select(order[:-3])
    scan = encoding((N_X, N_Y, 1), limits={"average": (0, 1, 0)})
    (kspace,) = accumulated([whole], scan)
    assert np.allclose(kspace.data[:, :, : N_Y - 2].numpy(), mean[:, :, : N_Y - 2], atol=1e-6)
    assert torch.equal(kspace.data[:, :, N_Y - 2], torch.from_numpy(blocks[0].data[N_Y - 2])[:, None])


def pieces() -> list[Readouts]:
    """KSPACE in two pieces along kx that overlap in the samples 6 to 9, one after the other."""
    halves = [(slice(0, 10), N_X // 2), (slice(6, N_X), N_X // 2 - 6)]
    return [
        with_header(readouts(KSPACE[..., along], last=()), center_sample=centre) for along, centre in halves
    ]


def test_lines_in_pieces_along_kx_are_put_together_sample_by_sample() -> None:
    (kspace,) = accumulated([joined(*pieces())])
    assert torch.equal(kspace.data, torch.from_numpy(KSPACE))
    assert kspace.sampled.all()


def test_averages_of_different_windows_count_each_sample() -> None:
    whole = readouts(3 * KSPACE, last=())
    echo = with_header(readouts(KSPACE[..., 5:], average=1, last=()), center_sample=N_X // 2 - 5)
    wide = np.pad(echo.data, ((0, 0), (0, 0), (0, 5)))  # samples of one number, the last five discarded
    echo = with_header(replace(echo, data=wide), discard_post=5)
    (kspace,) = accumulated([whole, echo])
    wanted = np.concatenate([3 * KSPACE[..., :5], 2 * KSPACE[..., 5:]], axis=-1)
    assert np.allclose(kspace.data.numpy(), wanted)


def test_reference_lines_in_pieces_calibrate_like_whole_ones() -> None:
    both = flagged(joined(*pieces()), slice(None), "IS_PARALLEL_CALIBRATION_AND_IMAGING")
    (kspace,) = accumulated([both])
    assert kspace.calibration is not None
    assert torch.equal(kspace.calibration, torch.from_numpy(KSPACE))
