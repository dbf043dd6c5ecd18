"""What compressed channels keep."""

from typing import Any

import pytest

from gadgets.coil_compression import CoilCompression
from gadgets.fourier_reconstruction import FourierReconstruction
from tests.gadgets.head_images import ENCODING, error, image_of, kspace_of
from tests.gadgets.small_scan import context


@pytest.mark.parametrize(("method", "limit"), [("svd", 0.015), ("geometric", 0.0005)])
def test_compression_keeps_the_image(method: Any, limit: float) -> None:
    kspace = kspace_of()
    (compressed,) = CoilCompression(n_coils=5, method=method)([kspace], context(ENCODING))
    assert len(compressed.data) == 5
    assert error(image_of(compressed, FourierReconstruction(combine="rss"))) < limit
    assert list(CoilCompression(n_coils=8)([kspace], context(ENCODING))) == [kspace]
