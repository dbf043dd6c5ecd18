from recon_core.nets.d5c5 import D5C5, D5C5Network


def n_values(parameters: object) -> int:
    return sum(parameter.numel() for parameter in parameters)  # type: ignore[attr-defined]


def test_the_plain_network_has_the_parameters_of_the_paper() -> None:
    network = D5C5().build()
    assert n_values(network.parameters()) == 144_650


def test_each_anatomy_has_one_aspin_set_that_changes_nothing_but_the_statistics() -> None:
    network = D5C5(anatomies=("brain", "knee")).build()
    assert isinstance(network, D5C5Network)
    assert n_values(network.shared_parameters()) == 144_650
    for anatomy in ("brain", "knee"):
        own = list(network.specific_parameters(anatomy))
        assert n_values(own) == 1_280
        assert sum(float(parameter.detach().sum()) for parameter in own) == 640  # γ one, β zero
    assert n_values(network.parameters()) == 144_650 + 2 * 1_280
