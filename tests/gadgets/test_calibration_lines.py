"""Which reference lines calibrate an image, and which are samples of it."""

import pytest
import torch

from gadgets.records import KSpace, Readouts
from tests.gadgets.accumulating import ENCODING, KSPACE, N_COILS, N_X, N_Y, accumulated, lines, reference
from tests.gadgets.small_scan import Array, context, encoding, flagged, random_complex, readouts, with_header


def protocol(mode: str | None, **limits: tuple[int, int, int]) -> str:
    return encoding((N_X, N_Y, 1), acceleration=(2, 1), calibration_mode=mode, limits=limits)


def accelerated(both: bool = True, kspace: Array = KSPACE, **counters: int) -> Readouts:
    """Every second line, and 5 and 7 to calibrate; with `both`, 4, 6 and 8 do too."""
    block = readouts(kspace, lines(0, 2, 4, 5, 6, 7, 8, 10), **counters)
    y = block.headers["idx"]["kspace_encode_step_1"]
    block = flagged(block, (y == 5) | (y == 7), "IS_PARALLEL_CALIBRATION")
    return flagged(block, both & (y >= 4) & (y <= 8) & (y % 2 == 0), "IS_PARALLEL_CALIBRATION_AND_IMAGING")


def sampled_lines(kspace: KSpace) -> list[int]:
    return kspace.sampled.all(-1)[0].nonzero().flatten().tolist()


@pytest.mark.parametrize("mode", ["separate", "external", "interleaved", "other", None])
@pytest.mark.parametrize("both", [True, False])
def test_reference_lines_calibrate_and_are_not_imaging(both: bool, mode: str | None) -> None:
    (kspace,) = accumulated([accelerated(both)], protocol(mode))
    assert kspace.calibration is not None
    # Lines 4 to 8 about the centre 6; those between the reference lines come from the image.
    wanted = KSPACE[:, :, 4:9] if both else KSPACE[:, :, 5:8]
    assert torch.equal(kspace.calibration, torch.from_numpy(wanted))
    assert sampled_lines(kspace) == [0, 2, 4, 6, 8, 10]
    assert not kspace.data[:, :, [5, 7]].any()
    assert kspace.notes == ()


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


# Embedded reference lines


@pytest.mark.parametrize("both", [True, False])
def test_embedded_reference_lines_calibrate_and_are_samples(both: bool) -> None:
    (kspace,) = accumulated([accelerated(both)], protocol("embedded"))
    assert sampled_lines(kspace) == [0, 2, 4, 5, 6, 7, 8, 10]
    assert torch.equal(kspace.data, torch.from_numpy(KSPACE) * kspace.sampled)
    assert kspace.calibration is not None
    assert torch.equal(kspace.calibration, torch.from_numpy(KSPACE[:, :, 4:9] if both else KSPACE[:, :, 5:8]))
    assert kspace.notes == ()


def test_an_image_on_the_lattice_beside_the_centre_has_the_header_of_the_reference_line_there() -> None:
    block = readouts(KSPACE, lines(1, 3, 5, 6, 7, 9, 11))
    block = flagged(block, 3, "IS_PARALLEL_CALIBRATION")
    (kspace,) = accumulated([block], protocol("embedded"))
    assert kspace.header == block.headers[3]


def test_embedded_reference_lines_of_other_counters_only_calibrate() -> None:
    """An echo of its own that is acquired for calibration alone is no image, and no part of one."""
    scan = protocol("embedded", contrast=(0, 1, 0))
    (kspace,) = accumulated([reference(7, contrast=1), readouts(KSPACE, lines(*range(0, 12, 2)))], scan)
    assert sampled_lines(kspace) == [0, 2, 4, 6, 8, 10]
    assert kspace.calibration is not None
    assert torch.equal(kspace.calibration, torch.from_numpy(random_complex(KSPACE.shape, 7)))


def test_embedded_reference_lines_are_samples_of_the_repetition_they_came_with() -> None:
    scan = protocol("embedded", repetition=(0, 1, 0))
    others = readouts(KSPACE, lines(*range(0, 12, 2)), repetition=1)
    first, second = accumulated([accelerated(repetition=0), others], scan)
    assert sampled_lines(first) == [0, 2, 4, 5, 6, 7, 8, 10]
    assert sampled_lines(second) == [0, 2, 4, 6, 8, 10]
    assert first.calibration is not None
    assert second.calibration is not None
    assert torch.equal(first.calibration, second.calibration)


def test_embedded_reference_lines_acquired_less_often_are_averaged_over_what_there_is() -> None:
    scan = protocol("embedded", average=(0, 1, 0))
    again = readouts(3 * KSPACE, lines(*range(0, 12, 2)), average=1)
    (kspace,) = accumulated([accelerated(average=0), again], scan)
    wanted = 2 * torch.from_numpy(KSPACE) * kspace.sampled
    wanted[:, :, [5, 7]] /= 2
    torch.testing.assert_close(kspace.data, wanted)


def test_embedded_reference_lines_leave_the_images_own_lines_as_they_are() -> None:
    scan = protocol("embedded")
    (kspace,) = accumulated([reference(7), readouts(KSPACE, lines(*range(0, 12, 2)))], scan)
    assert torch.equal(kspace.data[:, :, ::2], torch.from_numpy(KSPACE[:, :, ::2]))
    assert torch.equal(kspace.data[:, :, 1::2], torch.from_numpy(random_complex(KSPACE.shape, 7)[:, :, 1::2]))


def test_embedded_reference_lines_of_another_part_of_kx_only_calibrate() -> None:
    echo = with_header(readouts(KSPACE[..., 5:], lines(*range(0, 12, 2))), center_sample=N_X // 2 - 5)
    (kspace,) = accumulated([reference(7), echo], protocol("embedded"))
    assert kspace.sampled.any(-1)[0].nonzero().flatten().tolist() == [0, 2, 4, 6, 8, 10]
    assert not kspace.sampled[..., :5].any()
    assert kspace.calibration is not None


def test_an_embedded_block_of_a_volume_is_part_of_it() -> None:
    volume = random_complex((N_COILS, 8, 10, 6))
    on_lattice = [(z, y) for z in range(0, 8, 2) for y in range(0, 10, 2)]
    block = [(z, y) for z in range(2, 7) for y in range(3, 8) if (z, y) not in on_lattice]
    both = flagged(readouts(volume, block, last=()), slice(None), "IS_PARALLEL_CALIBRATION")
    image = readouts(volume, on_lattice, last=())
    image = flagged(image, image.headers["idx"]["kspace_encode_step_1"] == 8, "LAST_IN_SLICE")
    scan = encoding((6, 10, 8), acceleration=(2, 2), calibration_mode="embedded")
    (kspace,) = accumulated([both, image], scan)
    assert kspace.sampled.all(-1).nonzero().tolist() == sorted(map(list, {*on_lattice, *block}))
    assert torch.equal(kspace.data, torch.from_numpy(volume) * kspace.sampled)
    assert kspace.notes == ()
