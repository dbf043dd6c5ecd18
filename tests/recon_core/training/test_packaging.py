"""What packages say of their networks."""

from recon_core.engine.manifest import Ranges
from recon_core.training.packaging import gated
from recon_core.training.recipe import Gate

SEEN = Ranges(
    anatomies=("brain",),
    contrasts=("T1",),
    masks=("random_lines", "poisson_disc"),
    acceleration=(2.1, 9.5),
    matrix=(48, 320),
    n_coils=(4, 8),
    noise_level=(0.002, 0.3),
    intensity=(1.1, 9.0),
)


def test_ranges_are_as_wide_as_what_was_seen_and_what_is_let_through_beyond() -> None:
    ranges = gated(SEEN, Gate(matrix=(64, 512), noise_level=(0.0, 0.1)))
    assert ranges.matrix == (48, 512)
    assert ranges.noise_level == (0.0, 0.3)
    assert ranges.acceleration == SEEN.acceleration


def test_masks_that_turned_out_no_better_are_kept_out() -> None:
    assert gated(SEEN, Gate(masks=("random_lines",))).masks == ("random_lines",)


def test_nothing_is_let_through_beyond_unless_told() -> None:
    assert gated(SEEN, Gate()) == SEEN
