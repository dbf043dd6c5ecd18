"""Bands of rows give the image of the whole, or are not used."""

import pytest
import torch
from torch import nn

from recon_core.engine.row_bands import in_row_bands


class Outer(nn.Module):
    """As the engine's networks: parts within, and something else around them."""

    def __init__(self, part: nn.Module) -> None:
        super().__init__()
        self.parts = nn.ModuleList([part])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + sum(part(x) for part in self.parts) * torch.ones(())


class Attention(nn.Module):
    """Weighs channels by their means over the whole image, out of sight of who only looks at modules."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * x.mean((-2, -1), keepdim=True).sigmoid()


def convolutions(*, dilation: int = 1) -> list[nn.Module]:
    return [
        nn.Conv2d(2, 5, 3, padding=dilation, dilation=dilation),
        nn.BatchNorm2d(5),
        nn.LeakyReLU(),
        nn.Conv2d(5, 5, 5, padding=2),
        nn.ELU(),
        nn.Conv2d(5, 2, 1),
    ]


def network(*modules: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    made = Outer(nn.Sequential(*modules)).eval()
    for name, parameter in made.named_parameters():
        parameter.data = torch.randn_like(parameter) * (1 if "bias" in name else 0.5)
    return made.double()


@pytest.mark.parametrize("dilation", [1, 4])
@pytest.mark.parametrize("n_rows", [1, 7, 16, 63])
@torch.inference_mode()
def test_bands_of_convolutions_are_exact_on_odd_sizes(dilation: int, n_rows: int) -> None:
    net = network(*convolutions(dilation=dilation))
    x = torch.randn(2, 2, 63, 41, dtype=torch.float64)
    expected = net(x)
    with in_row_bands(net, n_rows) as bands:
        image = net(x)
    assert bands.n_modules == (n_rows < 63)
    torch.testing.assert_close(image, expected, rtol=0, atol=1e-12)
    assert torch.equal(net(x), expected)


@pytest.mark.parametrize(
    "module",
    [
        nn.InstanceNorm2d(2),
        nn.GroupNorm(1, 2),
        Attention(),
        nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2)),
        nn.MaxPool2d(3, stride=1, padding=1),
        nn.Conv2d(2, 2, 3, padding=1, stride=1, padding_mode="circular"),
    ],
    ids=lambda m: type(m).__name__,
)
@torch.inference_mode()
def test_what_is_not_local_stays_whole(module: nn.Module) -> None:
    net = network(*convolutions(), module, nn.Conv2d(2, 2, 3, padding=1))
    x = torch.randn(1, 2, 64, 32, dtype=torch.float64)
    expected = net(x)
    with in_row_bands(net, 8) as bands:
        assert torch.equal(net(x), expected)
    assert bands.n_modules == 0


@torch.inference_mode()
def test_local_parts_of_a_part_that_is_not_go_in_bands() -> None:
    net = network(nn.Sequential(*convolutions()), Attention())
    x = torch.randn(1, 2, 64, 32, dtype=torch.float64)
    expected = net(x)
    with in_row_bands(net, 8) as bands:
        torch.testing.assert_close(net(x), expected, rtol=0, atol=1e-12)
    assert bands.n_modules == 1


@torch.inference_mode()
def test_bands_need_less_memory_at_once() -> None:
    net = network(nn.Conv2d(2, 32, 3, padding=1), nn.ReLU(), nn.Conv2d(32, 2, 3, padding=1))
    seen: list[int] = []
    net.parts[0][1].register_forward_hook(lambda _module, _inputs, output: seen.append(output.numel()))
    x = torch.randn(1, 2, 128, 16, dtype=torch.float64)
    net(x)
    whole = max(seen)
    seen.clear()
    with in_row_bands(net, 32):
        net(x)
    assert max(seen) <= whole * (32 + 4) / 128


@torch.inference_mode()
def test_a_failure_inside_leaves_the_network_as_it_was() -> None:
    net = network(*convolutions())
    with pytest.raises(RuntimeError, match="channels"), in_row_bands(net, 8):
        net(torch.randn(1, 3, 64, 32, dtype=torch.float64))
    assert "forward" not in vars(net.parts[0])
