"""Readouts into k-space: places, averages, calibration, completeness, and what is refused."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from gadgets.accumulate import Accumulate
from gadgets.gadget import Context
from gadgets.records import KSpace, Readouts
from recon_core.errors import InputError
from tests.gadgets.small_scan import (
    Array,
    context,
    encoding,
    flagged,
    joined,
    noise_readout,
    random_complex,
    readouts,
    with_header,
)

N_COILS, N_Y, N_X = 3, 12, 16
KSPACE = random_complex((N_COILS, 1, N_Y, N_X))
ENCODING = encoding(
    (N_X, N_Y, 1), limits={"slice": (0, 3, 0), "repetition": (0, 3, 0), "contrast": (0, 1, 0)}
)


def accumulated(
    blocks: Iterable[Readouts], scan: Context | str = ENCODING, **parameters: Any
) -> list[KSpace]:
    scan = context(scan) if isinstance(scan, str) else scan
    return list(Accumulate(**parameters)(blocks, scan))


def lines(*steps: int) -> list[tuple[int, int]]:
    return [(0, y) for y in steps]


# Places


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


# Sorting


def test_slices_contrasts_and_repetitions_become_images_of_their_own() -> None:
    blocks, wanted = [], []
    for number, (repetition, contrast, place) in enumerate(np.ndindex(2, 2, 3)):
        counters = {"slice": place, "contrast": contrast, "repetition": repetition}
        blocks.append(readouts(random_complex(KSPACE.shape, number), **counters))
        wanted.append(random_complex(KSPACE.shape, number))
    images = accumulated([joined(*blocks)])
    assert len(images) == len(wanted)
    for image, data in zip(images, wanted, strict=True):
        assert torch.equal(image.data, torch.from_numpy(data))


def test_interleaved_slices_are_told_apart() -> None:
    both = [readouts(random_complex(KSPACE.shape, place), slice=place) for place in (0, 1)]
    order = np.arange(2 * N_Y).reshape(2, N_Y).T.ravel()
    images = accumulated([joined(*both).select(order)])
    assert [int(image.header["idx"]["slice"]) for image in images] == [0, 1]
    assert torch.equal(images[1].data, torch.from_numpy(random_complex(KSPACE.shape, 1)))


def averages(n: int) -> tuple[list[Readouts], Array]:
    data = [random_complex(KSPACE.shape, number) for number in range(n)]
    return [readouts(one, average=number) for number, one in enumerate(data)], np.mean(data, axis=0)


def test_averages_are_averaged_and_complete_with_the_last() -> None:
    blocks, mean = averages(3)
    scan = encoding((N_X, N_Y, 1), limits={"average": (0, 2, 0)})
    (kspace,) = accumulated(blocks, scan)
    assert np.allclose(kspace.data.numpy(), mean, atol=1e-6)


def test_a_late_average_without_a_limit_is_noted_not_averaged(caplog: pytest.LogCaptureFixture) -> None:
    blocks, _ = averages(2)
    first, late = accumulated(blocks)
    assert first.notes == ()
    assert late.notes == (
        "average that came after its image was given out, not averaged: the header has no limit of `average`",
    )
    assert late.notes[0] in caplog.text
    assert torch.equal(late.data, torch.from_numpy(random_complex(KSPACE.shape, 1)))


def test_averages_that_a_trigger_keeps_apart_need_no_note() -> None:
    images = accumulated(averages(2)[0], trigger="average")
    assert [image.notes for image in images] == [(), ()]


def test_averages_without_a_limit_and_flagged_once_are_averaged() -> None:
    blocks, mean = averages(2)
    headers = blocks[0].headers.copy()
    headers["flags"] = 0
    (kspace,) = accumulated([replace(blocks[0], headers=headers), blocks[1]])
    assert np.allclose(kspace.data.numpy(), mean, atol=1e-6)
    assert kspace.notes == ()


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


def test_averages_can_be_kept_apart() -> None:
    blocks, _ = averages(2)
    scan = encoding((N_X, N_Y, 1), limits={"average": (0, 1, 0)})
    images = accumulated(blocks, scan, sort_by=("slice", "average"))
    assert [int(image.header["idx"]["average"]) for image in images] == [0, 1]


def test_segments_do_not_separate() -> None:
    halves = [readouts(KSPACE, lines(*range(start, N_Y, 2)), segment=start, last=()) for start in (0, 1)]
    halves[1] = flagged(halves[1], slice(-1, None), "LAST_IN_SLICE")
    (kspace,) = accumulated(halves)
    assert torch.equal(kspace.data, torch.from_numpy(KSPACE))


def test_a_trigger_completes_images_when_its_counter_changes() -> None:
    blocks = [readouts(random_complex(KSPACE.shape, n), repetition=n, last=()) for n in range(3)]
    images = Accumulate(trigger="repetition")([joined(*blocks)], context(ENCODING))
    assert [int(image.header["idx"]["repetition"]) for image in images] == [0, 1, 2]


def test_user_counters_can_separate() -> None:
    block = readouts(np.concatenate([KSPACE, KSPACE], axis=2), last=())
    headers = block.headers.copy()
    headers["idx"]["kspace_encode_step_1"] %= N_Y
    headers["idx"]["user"][N_Y:, 2] = 1
    assert len(accumulated([replace(block, headers=headers)], sort_by=("slice", "user_2"))) == 2


# Calibration


def calibrated(separate: bool) -> Readouts:
    block = readouts(KSPACE, lines(0, 2, 4, 5, 6, 7, 8, 10))
    y = block.headers["idx"]["kspace_encode_step_1"]
    block = flagged(block, (y == 5) | (y == 7), "IS_PARALLEL_CALIBRATION")
    both = "IS_PARALLEL_CALIBRATION_AND_IMAGING"
    return block if separate else flagged(block, (y >= 4) & (y <= 8) & (y % 2 == 0), both)


@pytest.mark.parametrize("separate", [True, False])
def test_reference_lines_calibrate_and_are_not_imaging(separate: bool) -> None:
    (kspace,) = accumulated([calibrated(separate)], encoding((N_X, N_Y, 1), acceleration=(2, 1)))
    assert kspace.calibration is not None
    # Lines 4 to 8 about the centre 6; those between the reference lines come from the image.
    wanted = KSPACE[:, :, 5:8] if separate else KSPACE[:, :, 4:9]
    assert torch.equal(kspace.calibration, torch.from_numpy(wanted))
    assert kspace.sampled.any(-1)[0].nonzero().flatten().tolist() == [0, 2, 4, 6, 8, 10]
    assert kspace.notes == ()


def reference(seed: int, encoding_space: int = 0, width: int = N_Y, **counters: int) -> Readouts:
    data = random_complex((N_COILS, 1, width, N_X), seed)
    block = flagged(readouts(data, **counters), slice(None), "IS_PARALLEL_CALIBRATION")
    return with_header(block, encoding_space_ref=encoding_space)


def test_reference_lines_before_all_slices_serve_every_repetition() -> None:
    before = [reference(100 + place, slice=place) for place in (0, 1)]
    images = [readouts(KSPACE, slice=place, repetition=n) for n in range(3) for place in (0, 1)]
    for kspace in accumulated([*before, *images]):
        place = int(kspace.header["idx"]["slice"])
        assert kspace.calibration is not None
        assert torch.equal(kspace.calibration, torch.from_numpy(random_complex(KSPACE.shape, 100 + place)))


def test_an_encoding_space_of_its_own_can_calibrate() -> None:
    fov = encoding((N_X, N_Y, 1)).replace("<y>8</y>", "<y>12</y>")
    small = encoding((N_X, 8, 1)).replace("<y>8.0</y>", f"<y>{float(N_Y)}</y>")
    first, second = accumulated([reference(7, 1, 8), readouts(KSPACE), readouts(KSPACE)], context(fov, small))
    for kspace in (first, second):
        assert kspace.calibration is not None
        assert torch.equal(kspace.calibration, torch.from_numpy(random_complex((N_COILS, 1, 8, N_X), 7)))


def test_reference_lines_of_another_field_of_view_are_refused_with_a_note() -> None:
    (kspace,) = accumulated([reference(7, 1, 8), readouts(KSPACE)], context(ENCODING, encoding((N_X, 8, 1))))
    assert kspace.calibration is None
    assert "field of view" in kspace.notes[0]


def test_an_image_prefers_reference_lines_of_its_own_contrast() -> None:
    before = [reference(100 + contrast, contrast=contrast) for contrast in (0, 1)]
    images = [readouts(KSPACE, contrast=contrast, repetition=n) for n in range(2) for contrast in (1, 0)]
    for kspace in accumulated([*before, *images]):
        seed = 100 + int(kspace.header["idx"]["contrast"])
        assert kspace.calibration is not None
        assert torch.equal(kspace.calibration, torch.from_numpy(random_complex(KSPACE.shape, seed)))


# Completeness


def test_an_image_is_emitted_at_its_last_line_not_later() -> None:
    def stream() -> Iterable[Readouts]:
        yield readouts(KSPACE, slice=0)
        raise AssertionError("asked for more before giving the image")

    kspace = next(Accumulate()(stream(), context(ENCODING)))
    assert torch.equal(kspace.data, torch.from_numpy(KSPACE))


def test_without_flags_images_come_at_the_end_and_say_so() -> None:
    (kspace,) = accumulated([readouts(KSPACE, last=())])
    assert kspace.notes == ("no last-in-slice flag: reconstructed when the stream ended",)


@pytest.mark.parametrize("flag", ["LAST_IN_REPETITION", "LAST_IN_MEASUREMENT"])
def test_the_end_of_repetition_or_measurement_completes(flag: str) -> None:
    blocks = [readouts(KSPACE, slice=0, last=()), readouts(KSPACE, slice=1, last=(flag,))]
    images = accumulated(blocks)
    assert [image.notes for image in images] == [(), ()]


def test_a_volume_flagged_at_every_partition_is_one_image() -> None:
    volume = random_complex((N_COILS, 4, 6, 8))
    block = readouts(volume, last=())
    block = flagged(block, block.headers["idx"]["kspace_encode_step_1"] == 5, "LAST_IN_SLICE")
    (kspace,) = accumulated([block], encoding((8, 6, 4)))
    assert torch.equal(kspace.data, torch.from_numpy(volume))
    assert kspace.notes == ()


def flagged_at_every_partition(block: Readouts) -> Readouts:
    z = block.headers["idx"]["kspace_encode_step_2"]
    return flagged(block, np.append(z[1:] != z[:-1], True), "LAST_IN_SLICE")


def test_a_volume_is_complete_with_the_last_average_of_its_last_partition() -> None:
    volume = random_complex((N_COILS, 4, 6, 8))
    blocks = [flagged_at_every_partition(readouts(n * volume, average=n // 2, last=())) for n in (1, 3)]
    (kspace,) = accumulated(blocks, encoding((8, 6, 4), limits={"average": (0, 1, 0)}))
    assert torch.equal(kspace.data, torch.from_numpy(2 * volume))
    assert kspace.notes == ()


@pytest.mark.parametrize("matrix", [(24, 16), (16, 24), (15, 11)])
def test_an_elliptic_volume_is_complete_with_the_rim_of_its_last_partitions(matrix: tuple[int, int]) -> None:
    n_z, n_y = matrix
    z, y = np.ogrid[:n_z, :n_y]
    ellipse = np.hypot((z - n_z // 2) / (n_z / 2), (y - n_y // 2) / (n_y / 2)) <= 1
    block = readouts(random_complex((1, n_z, n_y, 4)), np.argwhere(ellipse).tolist())
    (kspace,) = accumulated([flagged_at_every_partition(block)], encoding((4, n_y, n_z)))
    assert int(kspace.sampled.any(-1).sum()) == int(ellipse.sum())
    assert kspace.notes == ()


def test_interleaved_partitions_are_not_taken_for_an_accelerated_volume() -> None:
    volume = random_complex((N_COILS, 6, 6, 8))
    block = readouts(volume, [(z, y) for z in (0, 2, 4, 1, 3, 5) for y in range(6)], last=())
    (kspace,) = accumulated([flagged_at_every_partition(block)], encoding((8, 6, 6)))
    assert torch.equal(kspace.data, torch.from_numpy(volume))


def test_missing_lines_are_counted() -> None:
    (kspace,) = accumulated([readouts(KSPACE, lines(*[y for y in range(N_Y) if y not in (3, 9)]))])
    assert kspace.notes == (f"2 of {N_Y} lines missing",)


def test_an_interrupted_scan_past_the_centre_is_reconstructed_with_notes() -> None:
    (kspace,) = accumulated([readouts(KSPACE, lines(*range(9)), last=())])
    assert kspace.notes == (
        "no last-in-slice flag: reconstructed when the stream ended",
        f"3 of {N_Y} lines missing",
    )


def test_an_interrupted_image_short_of_the_centre_is_given_up() -> None:
    whole, cut = readouts(KSPACE), readouts(KSPACE, lines(0, 1, 2), repetition=1, last=())
    assert len(accumulated([whole, cut])) == 1
    with pytest.raises(InputError, match="3 lines that do not reach the centre"):
        accumulated([cut])


NOT_COMPLETED = "not completed by its last-in-slice flags: reconstructed when the stream ended"


def test_a_flagged_volume_that_lacks_lines_is_not_said_to_lack_flags() -> None:
    block = flagged_at_every_partition(readouts(random_complex((N_COILS, 4, 6, 8))))
    centre = 2 * 6 + 3
    (kspace,) = accumulated([block.select(np.arange(len(block)) != centre)], encoding((8, 6, 4)))
    assert kspace.notes[0] == NOT_COMPLETED
    assert kspace.notes[1].startswith("1 of ")


def test_an_echo_that_only_the_last_one_is_flagged_for_is_not_said_to_lack_flags() -> None:
    echoes = [readouts(KSPACE, contrast=0, last=()), readouts(KSPACE, contrast=1)]
    assert [image.notes for image in accumulated(echoes)] == [(), (NOT_COMPLETED,)]


def test_readouts_that_make_no_image_are_dropped() -> None:
    others = ["IS_NAVIGATION_DATA", "IS_PHASECORR_DATA", "IS_DUMMYSCAN_DATA", "IS_RTFEEDBACK_DATA"]
    extra = [flagged(readouts(9 * KSPACE, lines(0), last=()), 0, name) for name in others]
    (kspace,) = accumulated([*extra, readouts(KSPACE), *extra])
    assert torch.equal(kspace.data, torch.from_numpy(KSPACE))


# Refusals


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
