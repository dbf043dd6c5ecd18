import pytest
import torch
from torch.nn.functional import batch_norm, conv2d

from recon_core.nets.learners import Learner, LearnerName


def with_random_values(module: torch.nn.Module) -> torch.nn.Module:
    """Parameters and running statistics unlike those that a new module has."""
    generator = torch.Generator().manual_seed(3)
    for name, values in module.state_dict().items():
        if values.is_floating_point():
            values.copy_(torch.rand(values.shape, generator=generator) + ("var" in name))
    return module.double()


def by_its_equation(name: LearnerName, x: torch.Tensor, values: dict[str, torch.Tensor]) -> torch.Tensor:
    def norm(h: torch.Tensor, which: str) -> torch.Tensor:
        mean, variance = values[f"{which}.running_mean"], values[f"{which}.running_var"]
        return batch_norm(h, mean, variance, values.get(f"{which}.weight"), values.get(f"{which}.bias"))

    h = conv2d(x, values["convolution.weight"], padding=1)
    if name == "pn3":
        h = h + torch.einsum("oi,siyx->soyx", values["weight"], norm(h, "inner_norm"))
    if name in ("pn4", "pn4_shared"):
        h = h + torch.einsum("poi,siyx->soyx", values["weights"], x)
    h = norm(h, "norm")
    if name == "pn2":
        squeezed = torch.relu(h.mean((2, 3)) @ values["squeeze.weight"].T)
        h = h * torch.sigmoid(squeezed @ values["excite.weight"].T)[:, :, None, None]
    return h


@pytest.mark.parametrize("name", ["pn0", "pn1", "pn2", "pn3", "pn4", "pn4_shared"])
def test_evaluation_is_the_equation_with_the_statistics_kept(name: LearnerName) -> None:
    shares_all = name in ("pn0", "pn4_shared")
    learner = with_random_values(Learner(name, 3, 4, () if shares_all else ("knee",))).eval()
    x = torch.randn(2, 3, 7, 6, dtype=torch.float64)
    prefix = "shared." if shares_all else "specific.knee."
    values = {key.removeprefix(prefix): value for key, value in learner.state_dict().items()}
    learned = learner(x, None if shares_all else "knee")
    torch.testing.assert_close(learned, by_its_equation(name, x, values))


@pytest.mark.parametrize("name", ["pn1", "pn2", "pn3", "pn4"])
def test_training_normalises_by_the_batch_and_keeps_statistics_of_its_anatomy_alone(
    name: LearnerName,
) -> None:
    learner = Learner(name, 3, 4, ("brain", "knee"))
    others = {key: value.clone() for key, value in learner.state_dict().items() if "brain" in key}
    x = torch.randn(5, 3, 16, 16)
    for _ in range(200):  # until the running statistics are those of this batch
        in_training = learner(x, "knee")
    torch.testing.assert_close(learner.eval()(x, "knee"), in_training, atol=2e-3, rtol=2e-3)
    for key, value in others.items():
        assert torch.equal(learner.state_dict()[key], value)


@pytest.mark.parametrize("name", ["pn3", "pn4"])
def test_a_new_anatomy_starts_from_the_shared_convolution(name: LearnerName) -> None:
    learner, x = Learner(name, 3, 4, ("knee",)), torch.randn(5, 3, 16, 16)
    shared = conv2d(x, learner.convolution.weight, padding=1)
    torch.testing.assert_close(learner(x, "knee"), batch_norm(shared, None, None, training=True))
