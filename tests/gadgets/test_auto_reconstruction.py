"""The reconstruction that is chosen automatically."""

import pytest

from gadgets.auto_reconstruction import AutoReconstruction
from gadgets.reconstructed import METHOD
from tests.gadgets.head_images import EVERY_SECOND, IRREGULAR, N, error, image_of, kspace_of


@pytest.mark.parametrize(
    ("lines", "method", "limit"),
    [
        (list(range(N)), "Fourier", 0.002),
        (EVERY_SECOND, "GRAPPA 1 x 2", 0.005),
        (IRREGULAR, "wavelet SENSE", 0.06),
    ],
    ids=["full", "regular", "irregular"],
)
def test_auto_chooses_by_the_sampling(lines: list[int], method: str, limit: float) -> None:
    image = image_of(kspace_of(lines), AutoReconstruction())
    assert str(image.meta[METHOD]).startswith(method)
    assert error(image) < limit


def test_auto_without_calibration_is_zero_filled_and_says_so() -> None:
    image = image_of(kspace_of(list(range(0, N, 2))), AutoReconstruction())
    assert image.meta[METHOD] == "Fourier"
    assert "undersampled 1 x 2" in image.notes[-1]
    assert "calibration" in image.notes[-1]
