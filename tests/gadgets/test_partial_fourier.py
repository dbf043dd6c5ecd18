"""Partial Fourier and asymmetric echoes, completed."""

from typing import Any

import pytest

from gadgets.accumulate import Accumulate
from gadgets.fourier_reconstruction import FourierReconstruction
from gadgets.partial_fourier import PartialFourier
from tests.gadgets.head_images import ENCODING, KSPACE, N, error, image_of, kspace_of
from tests.gadgets.small_scan import context, readouts, with_header


@pytest.mark.parametrize("method", ["pocs", "homodyne"])
def test_partial_fourier_along_the_phase_encoding_is_completed(method: Any) -> None:
    lines = list(range(24, N))
    filled = image_of(kspace_of(lines), FourierReconstruction(), PartialFourier(method=method))
    zero_filled = image_of(kspace_of(lines), FourierReconstruction(), PartialFourier(method="zero_fill"))
    assert error(filled) < 0.6 * error(zero_filled)
    assert filled.meta["Reconstream.PartialFourier"] == f"{method} along ky"
    assert "Reconstream.PartialFourier" not in zero_filled.meta


def test_an_asymmetric_echo_is_completed() -> None:
    block = with_header(readouts(KSPACE[..., 20:].numpy()), center_sample=N // 2 - 20)
    (kspace,) = Accumulate()([block], context(ENCODING))
    filled = image_of(kspace, FourierReconstruction(), PartialFourier())
    assert error(filled) < 0.6 * error(image_of(kspace, FourierReconstruction()))
    assert filled.meta["Reconstream.PartialFourier"] == "pocs along kx"


def test_partial_fourier_leaves_symmetric_and_real_images_alone() -> None:
    for series in (
        image_of(kspace_of(), FourierReconstruction()),
        image_of(kspace_of(list(range(6, N - 7))), FourierReconstruction()),
        image_of(kspace_of(list(range(24, N))), FourierReconstruction(combine="rss")),
    ):
        assert image_of(series, PartialFourier()) is series  # type: ignore[arg-type]
