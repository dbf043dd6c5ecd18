"""Which readouts make an image together, and when it is complete."""

from collections.abc import Iterable
from dataclasses import replace

import numpy as np
import pytest
import torch

from gadgets.accumulate import Accumulate
from gadgets.records import Readouts
from recon_core.errors import InputError
from tests.gadgets.accumulating import ENCODING, KSPACE, N_COILS, N_X, N_Y, accumulated, averages, lines
from tests.gadgets.small_scan import context, encoding, flagged, joined, random_complex, readouts

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
