"""Convolutions of which one part is shared by all anatomies and another belongs to each: PN0 to PN4.

MAPN, arXiv:2206.07364. A learner is a convolution K without bias, shared, and the batch norm BN behind
it with what the variant adds, an anatomy's own:

- pn0: BN(K x), all of it shared
- pn1: BN(K x)
- pn2: g ⊙ BN(K x), the channels gated by squeeze and excitation of BN(K x), C_out / 2 features inside
- pn3: BN(K x + W BN'(K x)), W a 1 x 1 convolution in series
- pn4: BN(K x + W x), W a 1 x 1 convolution in parallel
- pn4_shared: BN(K x + W₁ x + W₂ x + W₃ x), all of it shared: pn4 for three anatomies, without the switch

An anatomy of DCCNN then holds what Table III of the paper counts. What it leaves open is where, besides γ
and β, two more values a feature come from in every variant, and four more in PN3. Here they are the mean and
variance that a norm keeps for evaluation, and in PN3 those of BN', which has no γ and β: W scales as γ would,
and BN takes out what β would add. BN' is where the series adapters that the paper builds on have it (Rebuffi
et al. 2018, arXiv:1803.10082).

W is zero to begin with, so that an anatomy starts from the shared convolution. In evaluation, every variant
but PN2 is a single convolution with bias.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import torch
from torch.nn.functional import conv2d

from recon_core.errors import InputError
from recon_core.nets.convolution import Convolution, convolved
from recon_core.nets.switched import PerAnatomy

LearnerName = Literal["pn0", "pn1", "pn2", "pn3", "pn4", "pn4_shared"]
SHARING_ALL = ("pn0", "pn4_shared")


class Learner(torch.nn.Module):
    """One shared convolution and what each anatomy has beside it; see the module's docstring."""

    def __init__(
        self, name: LearnerName, n_in: int, n_out: int, anatomies: Sequence[str], kernel_size: int = 3
    ) -> None:
        super().__init__()
        self.convolution = Convolution(n_in, n_out, kernel_size, bias=False)
        make_part = partial(PARTS[name], n_in, n_out)
        if name in SHARING_ALL:
            self.shared = make_part()
        self.specific = PerAnatomy(make_part, anatomies)

    def forward(self, x: torch.Tensor, anatomy: str | None) -> torch.Tensor:
        """`(slice, C_out, y, x)`, before any activation."""
        part = self.shared if anatomy is None else self.specific[anatomy]
        learned: torch.Tensor = part(x, self.convolution.weight)
        return learned


def require_fitting(name: LearnerName, anatomies: Sequence[str]) -> None:
    """Raise an InputError where a learner has a part for each anatomy and none is named, or the reverse."""
    if (name in SHARING_ALL) == bool(anatomies):
        expected = "no anatomies, for it shares all" if anatomies else "at least one anatomy"
        raise InputError(
            f"learner {name}: expected {expected}, got {list(anatomies)}; "
            f"{'leave them out' if anatomies else 'name those to be trained'}, or use another learner"
        )


class Normalised(torch.nn.Module):
    """BN(K x), of which the variants replace one step or another."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.norm = torch.nn.BatchNorm2d(n_out)

    def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        if self.training:
            normalised: torch.Tensor = self.norm(self.before_norm(x, weight))
            return normalised
        with torch.autocast(x.device.type, enabled=False):
            kernel, offset = self.as_convolution(weight)
            scale = self.norm.weight * _inverse_std(self.norm)
            kernel = kernel * scale[:, None, None, None]
            bias = (offset - _mean(self.norm)) * scale + self.norm.bias
        return convolved(x, kernel, bias)

    def before_norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """What the norm is given in training."""
        return convolved(x, weight)

    def as_convolution(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Kernel and bias of the convolution that is `before_norm` in evaluation."""
        return weight, torch.zeros_like(_mean(self.norm))


class Gated(Normalised):
    """σ(W₂ ReLU(W₁ mean(h))) ⊙ h with h = BN(K x). Hu et al. 2018, doi:10.1109/CVPR.2018.00745."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        self.squeeze = torch.nn.Linear(n_out, n_out // 2, bias=False)
        self.excite = torch.nn.Linear(n_out // 2, n_out, bias=False)

    def forward(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        features = super().forward(x, weight)
        gate = torch.sigmoid(self.excite(torch.relu(self.squeeze(features.mean((-2, -1))))))
        gate = gate[:, :, None, None]
        return features * gate if torch.is_grad_enabled() else features.mul_(gate)


class InSeries(Normalised):
    """BN(h + W BN'(h)) with h = K x."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(n_in, n_out)
        self.inner_norm = torch.nn.BatchNorm2d(n_out, affine=False)
        self.weight = torch.nn.Parameter(torch.zeros(n_out, n_out))

    def before_norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        features = convolved(x, weight)
        return features + conv2d(self.inner_norm(features), self.weight[:, :, None, None])

    def as_convolution(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        scaled = self.weight * _inverse_std(self.inner_norm)
        return weight + torch.tensordot(scaled, weight, dims=1), -scaled @ _mean(self.inner_norm)


class InParallel(Normalised):
    """BN(K x + Σ W x), the 1 x 1 convolutions W added to the centre of K."""

    def __init__(self, n_in: int, n_out: int, n_parallel: int = 1) -> None:
        super().__init__(n_in, n_out)
        self.weights = torch.nn.Parameter(torch.zeros(n_parallel, n_out, n_in))

    def before_norm(self, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        return convolved(x, self.as_convolution(weight)[0])

    def as_convolution(self, weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        to_edge = weight.shape[-1] // 2
        at_centre = torch.nn.functional.pad(self.weights.sum(0)[:, :, None, None], [to_edge] * 4)
        return weight + at_centre, super().as_convolution(weight)[1]


PARTS: dict[LearnerName, Callable[[int, int], Normalised]] = {
    "pn0": Normalised,
    "pn1": Normalised,
    "pn2": Gated,
    "pn3": InSeries,
    "pn4": InParallel,
    "pn4_shared": partial(InParallel, n_parallel=3),
}


def _mean(norm: torch.nn.BatchNorm2d) -> torch.Tensor:
    assert norm.running_mean is not None
    return norm.running_mean


def _inverse_std(norm: torch.nn.BatchNorm2d) -> torch.Tensor:
    assert norm.running_var is not None
    return torch.rsqrt(norm.running_var + norm.eps)
