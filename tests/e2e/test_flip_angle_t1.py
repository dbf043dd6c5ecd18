"""The T1 map of a real scan at ten flip angles, and its images against all its readouts as one image."""

from pathlib import Path

import numpy as np
import pytest

from pipelines import reconstruct
from recon_core.errors import ReconstreamError
from tests.e2e.case_files import nrmse_scaled

REAL = "brain_radial_goldenangle_vfa_5ch.h5"
SEQUENCE = {"FlipAngleSubspace.flip_angles_deg": list(range(1, 20, 2)), "FlipAngleSubspace.tr_ms": 5.38}
QUICK = {"SubspaceReconstruction.method": "least_squares", "SubspaceReconstruction.n_iterations": 6}


def test_t1_of_a_real_brain_and_images_whose_mean_is_the_pooled_image(shared_data: Path) -> None:
    path = shared_data / "raw" / REAL
    t1_map, *frames = reconstruct(path, "vfa_t1", parameters={**SEQUENCE, **QUICK})
    assert [image.repetition for image in frames] == list(range(10))
    images = np.stack([image.data[0, 0] for image in frames])
    pooled = {"AccumulateNonCartesian.sort_by": ["slice"], "Sense.n_iterations": 6, "CoilMaps.n_maps": 1}
    (reference,) = reconstruct(path, "radial_sense", parameters=pooled)
    whole = np.abs(reference.data[0, 0])
    assert nrmse_scaled(images.mean(0), whole, whole > 0.1 * whole.max()) < 0.05

    t1_ms = t1_map.data[0, 0]
    assert t1_map.data.dtype == np.float32
    assert (t1_map.meta["DataRole"], t1_map.meta["ImageType"], t1_map.meta["Unit"]) == (
        "Quantitative",
        "T1",
        "ms",
    )
    assert t1_map.image_series_index != frames[0].image_series_index
    shown = t1_ms[t1_ms != 0]
    assert shown.min() >= 50
    assert shown.max() <= 5000
    assert (t1_ms[:20] == 0).all()
    # White and grey matter at 3 T, flip angles as nominal.
    assert 800 < np.median(t1_ms[90:170, 70:190]) < 1600


def test_flip_angles_that_nobody_states_are_asked_for(shared_data: Path) -> None:
    with pytest.raises(ReconstreamError, match="expected flip_angles_deg, or flipAngle_deg"):
        reconstruct(shared_data / "raw" / REAL, "vfa_t1")
