"""Random numbers that depend on what they are for, not on who asks first: same key, same numbers."""

import hashlib
import math
from collections.abc import Sequence
from typing import TypeVar

import torch

Item = TypeVar("Item")
Range = tuple[float, float]


class Draws:
    """A stream of random numbers for one key, such as `(seed, "train", 17)`.

    Each example has a key of its own, so that any number of workers, in any order, makes the same ones.
    """

    def __init__(self, *key: object) -> None:
        digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
        self.generator = torch.Generator().manual_seed(int.from_bytes(digest, "little"))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number between the two."""
        return low + (high - low) * float(torch.rand((), generator=self.generator))

    def log_uniform(self, low: float, high: float) -> float:
        """A number between the two, positive ones, every factor as likely as any other."""
        return math.exp(self.uniform(math.log(low), math.log(high)))

    def integer(self, low: int, high: int) -> int:
        """A whole number from `low` up to and with `high`."""
        return int(torch.randint(low, high + 1, (), generator=self.generator))

    def chance(self, probability: float) -> bool:
        """True in this share of cases."""
        return self.uniform() < probability

    def choice(self, items: Sequence[Item]) -> Item:
        """One of them."""
        return items[self.integer(0, len(items) - 1)]

    def some(self, n: int, n_wanted: int) -> list[int]:
        """`n_wanted` indices below `n`; none twice before all have come once."""
        drawn: list[int] = []
        while len(drawn) < n_wanted:
            drawn += torch.randperm(n, generator=self.generator)[: n_wanted - len(drawn)].tolist()
        return drawn

    def normal(self, *shape: int) -> torch.Tensor:
        """Standard normal numbers."""
        return torch.randn(shape, generator=self.generator)

    def uniforms(self, low: float, high: float, *shape: int) -> torch.Tensor:
        """Numbers between the two."""
        return low + (high - low) * torch.rand(shape, generator=self.generator)

    def complex_normal(self, *shape: int) -> torch.Tensor:
        """Circular complex normal numbers of unit variance."""
        return torch.randn(shape, dtype=torch.complex64, generator=self.generator)
