"""One network on one device: fixed batches, and less at once where memory runs out."""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from time import monotonic
from typing import Literal

import torch

from recon_core.engine.manifest import Precision
from recon_core.engine.package import ModelPackage
from recon_core.engine.row_bands import in_row_bands
from recon_core.engine.slices import Slices, joined, likeness
from recon_core.errors import EngineError

How = Literal["batch", "tiles", "cpu"]

N_BAND_ROWS = 32
RETRY_AFTER_S = 60.0
"""So long after memory ran out, more is tried again."""
CPU = torch.device("cpu")


@dataclass(frozen=True)
class Pass:
    """What one or a few slices of one shape came to."""

    images: torch.Tensor
    """`(slice, y, x)`, normalised still."""
    how: How
    batch_size: int
    precision: Precision
    peak_memory_bytes: int
    """Of the arrays on a GPU; of the whole process, so far, on a CPU."""


class Inference:
    """A package's network on a device, whose memory may run out.

    A slice's bits must not depend on who happened to wait with it. So the network always sees exactly
    `batch_size` slices, the last one repeated where there are fewer, since algorithms are chosen by the size
    of a batch; and before slices of a shape are batched, a first batch must show that they give the same
    bits in each of its places, or they go one by one. When memory runs out, the batch is halved down to one
    slice, then the convolutions go in bands of rows, then all of it to the CPU.
    """

    def __init__(
        self,
        package: ModelPackage,
        device: torch.device,
        batch_size: int,
        precision: Precision = "float32",
    ) -> None:
        if precision not in package.manifest.precision:
            raise EngineError(
                package.id,
                f"expected a precision of {', '.join(package.manifest.precision)}, got {precision}",
            )
        self.package, self._device, self._precision = package, device, precision
        self._networks: dict[torch.device, torch.nn.Module] = {}
        self._ways: list[tuple[How, int]] = []
        while batch_size >= 1:
            self._ways.append(("batch", batch_size))
            batch_size //= 2
        self._ways.append(("tiles", 1))
        if device.type != "cpu":
            self._ways.append(("cpu", 1))
        self._restriction: dict[object, tuple[int, float]] = {}
        self._is_alike_in_every_place: dict[object, bool] = {}

    def __call__(self, slices: Sequence[Slices], anatomy: str | None) -> Pass:
        """The network's images of normalised single slices that can be joined.

        Raises EngineError where memory runs out in every way; what the network raises is left as it is.
        """
        kind = likeness(slices[0])
        first, until = self._restriction.get(kind, (0, 0.0))
        if monotonic() > until:
            first = 0
        for way in range(first, len(self._ways)):
            try:
                return self._run(slices, anatomy, *self._ways[way])
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
            # Beyond the except, which would keep the arrays of the failed frames.
            self._restriction[kind] = (min(way + 1, len(self._ways) - 1), monotonic() + RETRY_AFTER_S)
            if self._device.type == "cuda":
                torch.cuda.empty_cache()
        raise EngineError(
            self.package.id, f"out of memory for a slice of {slices[0].in_words}, even in tiles"
        )

    def _run(self, slices: Sequence[Slices], anatomy: str | None, how: How, batch_size: int) -> Pass:
        device = CPU if how == "cpu" else self._device
        precision: Precision = "float32" if how == "cpu" else self._precision
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        with ExitStack() as settings:
            settings.enter_context(torch.inference_mode())
            if device.type == "cuda":
                # Full single precision where that is what the package states, and the same sums every time.
                settings.enter_context(torch.backends.cudnn.flags(True, deterministic=True, allow_tf32=False))
            if precision != "float32":
                settings.enter_context(torch.autocast(device.type, getattr(torch, precision)))
            network = self._network(device)
            bands = settings.enter_context(in_row_bands(network, N_BAND_ROWS)) if how == "tiles" else None

            def images_of(batch: Sequence[Slices]) -> torch.Tensor:
                result: torch.Tensor = network(joined(batch).to(device), anatomy)
                return result

            if batch_size > 1 and not self._may_batch(slices, anatomy, batch_size, images_of):
                batch_size = 1
            images = [
                images_of(batch)[: len(slices) - i].to(slices[0].device)
                for i, batch in _filled(slices, batch_size)
            ]
        if bands is not None and bands.n_modules == 0:
            how = "batch"
        return Pass(torch.cat(images), how, batch_size, precision, _peak_memory(device))

    def _may_batch(
        self,
        slices: Sequence[Slices],
        anatomy: str | None,
        batch_size: int,
        images_of: Callable[[Sequence[Slices]], torch.Tensor],
    ) -> bool:
        """Whether slices like these give the same bits in each place of a batch; found out once."""
        kind = (likeness(slices[0]), anatomy, batch_size)
        if kind not in self._is_alike_in_every_place:
            _, batch = next(_filled(slices, batch_size))
            expected = images_of(batch)
            self._is_alike_in_every_place[kind] = all(
                torch.equal(images_of([*batch[k:], *batch[:k]]).roll(k, 0), expected)
                for k in range(1, batch_size)
            )
        return self._is_alike_in_every_place[kind]

    def _network(self, device: torch.device) -> torch.nn.Module:
        if device not in self._networks:
            network = self.package.network(device)
            self._networks[device] = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        return self._networks[device]


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out: torch has a type for its own on a GPU, words for a CPU's and for libraries."""
    words = ("can't allocate memory", "not enough memory", "out of memory", "ALLOC_FAILED")
    return isinstance(error, MemoryError | torch.OutOfMemoryError) or any(w in str(error) for w in words)


def _filled(slices: Sequence[Slices], batch_size: int) -> Iterator[tuple[int, Sequence[Slices]]]:
    """Batches of exactly `batch_size`, and where each begins; the last slice fills the last one up."""
    for i in range(0, len(slices), batch_size):
        batch = slices[i : i + batch_size]
        yield i, [*batch, *[batch[-1]] * (batch_size - len(batch))]


def _peak_memory(device: torch.device) -> int:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
