import pytest

from recon_core.errors import InputError
from recon_core.nets.dccnn import DCCNN, DCCNNNetwork
from recon_core.nets.learners import LearnerName
from tests.recon_core.nets.counts import n_held, n_values

ANATOMIES = ("brain", "knee", "cardiac")


@pytest.mark.parametrize(("learner", "n_together"), [("pn0", 569_640), ("pn4_shared", 757_800)])
def test_networks_without_a_switch_hold_what_table_iii_counts(learner: LearnerName, n_together: int) -> None:
    assert n_held(DCCNN(learner=learner).build()) == n_together


@pytest.mark.parametrize(
    ("learner", "n_specific", "n_together"),
    [
        ("pn1", 5_160, 579_960),
        ("pn2", 87_100, 825_780),
        ("pn3", 89_680, 833_520),
        ("pn4", 67_880, 768_120),
    ],
)
def test_switched_networks_hold_what_table_iii_counts(
    learner: LearnerName, n_specific: int, n_together: int
) -> None:
    network = DCCNN(learner=learner, anatomies=ANATOMIES).build()
    assert isinstance(network, DCCNNNetwork)
    assert n_values(network.shared_parameters()) == 564_480
    assert n_held(network) == n_together
    network.add_anatomy("prostate")
    assert n_held(network) - n_together == n_specific
    n_of_statistics = 2 * 2_580 if learner == "pn3" else 2_580
    for anatomy in network.anatomies:
        assert n_values(network.specific_parameters(anatomy)) == n_specific - n_of_statistics


@pytest.mark.parametrize(
    ("learner", "anatomies"), [("pn0", ("brain",)), ("pn4_shared", ("brain",)), ("pn1", ())]
)
def test_anatomies_are_named_where_learners_have_parts_for_them(
    learner: LearnerName, anatomies: tuple[str, ...]
) -> None:
    with pytest.raises(InputError, match=learner):
        DCCNN(learner=learner, anatomies=anatomies).build()
