"""The engine: networks for every session of a process, on one device."""

from __future__ import annotations

import logging
import math
import threading
from dataclasses import dataclass
from time import perf_counter
from types import TracebackType
from typing import Self

import msgspec
import torch

from recon_core.engine.gate import Measured, outside, unchecked
from recon_core.engine.inference import How
from recon_core.engine.manifest import Precision
from recon_core.engine.package import ModelPackage
from recon_core.engine.slices import Slices, at_intensity
from recon_core.engine.store import ModelStore
from recon_core.engine.waiting import Priority
from recon_core.engine.worker import Settings, Worker
from recon_core.engine.worker_process import WorkerProcess
from recon_core.errors import EngineError, InputError, OutOfRange
from recon_core.nets.feature_maps import FeatureMaps
from recon_core.nets.registry import ARCHITECTURES
from recon_core.nets.undersampled import Undersampled

_LOGGER = logging.getLogger("reconstream.engine")
_FROM_BEST: tuple[How, ...] = ("batch", "tiles", "cpu")


@dataclass(frozen=True, eq=False)
class Reconstructed:
    """Images from a network, and how they came about."""

    image: torch.Tensor
    """`(slice, y, x)`, or `(slice, L, y, x)` of feature maps: complex64, at the intensity of what came in, on
    its device."""
    model: str
    """`name@version`."""
    hash: str
    """Of the package."""
    precision: Precision
    batch_size: int
    """Slices in a pass of the network, those of other sessions included."""
    how: How
    """`batch` as a rule; `tiles` or `cpu` after memory ran out."""
    wall_time_s: float
    """From the call to the images, waiting included."""
    peak_memory_bytes: int
    """See `inference.Pass`."""
    unchecked: tuple[str, ...]
    """What the gate was not told, could not measure, or let pass: see `gate.unchecked`."""


class Engine:
    """Reconstructs slices with the networks of a store; may be called from any number of threads.

    One worker owns the device. It takes slices of the same shape, model and anatomy together, whoever sent
    them, inline before replay. A slice waits for companions only while another session uses the same model,
    at most `latency_budget_ms`. On a CPU a batch of one is as fast as any.

    Each call ends: with images, or with ModelError (a package that is unknown or refused), InputError
    (arrays that do not fit together), OutOfRange (the gate) or EngineError (anything else).
    """

    def __init__(
        self,
        device: torch.device | str = "cpu",
        *,
        store: ModelStore | None = None,
        batch_size: int | None = None,
        latency_budget_ms: float = 10.0,
        mixed_precision: bool | None = None,
        own_process: bool = False,
    ) -> None:
        """`batch_size` is 1 on a CPU and 4 elsewhere unless told; mixed precision is for packages that allow
        it, off on a CPU and on elsewhere unless told. In its own process, a network that crashes takes no
        session with it: calls fail at once, and the next one starts another process.
        """
        self._device = torch.device(device)
        is_cpu = self._device.type == "cpu"
        settings = Settings(
            device=self._device,
            batch_size=batch_size or (1 if is_cpu else 4),
            latency_budget_s=latency_budget_ms / 1000,
            mixed_precision=not is_cpu if mixed_precision is None else mixed_precision,
        )
        self._store = store or ModelStore.default()
        self._packages: dict[str, ModelPackage] = {}
        self._loading = threading.Lock()
        self._worker = WorkerProcess(settings) if own_process else Worker(settings)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Free the device once the pass under way has ended. Calls that wait and later ones fail."""
        self._worker.close()

    def package(self, model: str) -> ModelPackage:
        """The verified package of that name, as long as the engine lives. Raises ModelError."""
        with self._loading:
            if model not in self._packages:
                self._packages[model] = self._store.load(model)
            return self._packages[model]

    def check(
        self,
        model: str,
        slices: Slices,
        *,
        anatomy: str | None = None,
        contrast: str | None = None,
        guide_contrast: str | None = None,
    ) -> list[str]:
        """Why the model does not apply to the slices, in words; none when it does.

        What is None is not checked. Raises ModelError, InputError, and EngineError for values that are not
        finite.
        """
        package = self.package(model)
        _require_fitting(package, slices)
        measured = _measured(package, slices.normalised()[0])
        return _outside(package, measured, anatomy, contrast, guide_contrast)

    def reconstruct(
        self,
        model: str,
        slices: Slices,
        *,
        anatomy: str | None = None,
        contrast: str | None = None,
        guide_contrast: str | None = None,
        priority: Priority = Priority.INLINE,
        timeout_s: float = 120.0,
        allow_out_of_range: bool = False,
    ) -> Reconstructed:
        """The network's images, or feature maps, of one or a few slices of one shape.

        Raises ModelError, InputError, OutOfRange unless allowed, and EngineError: see the class.
        """
        began = perf_counter()
        package = self.package(model)
        _require_fitting(package, slices)
        normalised, scale = slices.normalised()
        measured = _measured(package, normalised)
        reasons = _outside(package, measured, anatomy, contrast, guide_contrast)
        if reasons and not allow_out_of_range:
            raise OutOfRange(package.id, "; ".join(reasons))

        session = threading.get_ident()
        passes = self._worker.passes(package, normalised, anatomy, session, priority, timeout_s)
        images = torch.cat([done.images for done in passes])
        if images.shape != slices.image_shape or not images.is_complex():
            raise EngineError(
                package.id,
                f"the network gave {images.dtype} of shape {tuple(images.shape)}, no complex images",
            )
        if not torch.isfinite(torch.view_as_real(images)).all():
            raise EngineError(package.id, "the network gave values that are not finite")
        worst = max(passes, key=lambda done: (_FROM_BEST.index(done.how), -done.batch_size))
        result = Reconstructed(
            image=at_intensity(images, scale).to(torch.complex64),
            model=package.id,
            hash=package.hash,
            precision=worst.precision,
            batch_size=worst.batch_size,
            how=worst.how,
            wall_time_s=perf_counter() - began,
            peak_memory_bytes=max(done.peak_memory_bytes for done in passes),
            unchecked=unchecked(package.manifest.ranges, measured, anatomy, contrast),
        )
        self._log(result, slices)
        return result

    def warm_up(self, model: str, shape: tuple[int, int] = (256, 256)) -> None:
        """One pass with an empty slice, so that the first patient's does not wait for libraries to set up.

        Raises as `reconstruct`.
        """
        package = self.package(model)
        empty = _empty_slice(package, shape)
        anatomy = next(iter(package.manifest.switch), None)
        session = threading.get_ident()
        self._worker.passes(package, empty, anatomy, session, Priority.REPLAY, timeout_s=120)

    def _log(self, result: Reconstructed, slices: Slices) -> None:
        _LOGGER.info(
            "model %s: %d slices of %s, batch %d, %.0f ms, peak %.0f MB, %s, %s, %s",
            result.model,
            len(slices),
            slices.in_words,
            result.batch_size,
            1000 * result.wall_time_s,
            result.peak_memory_bytes / 1e6,
            "cpu" if result.how == "cpu" else self._device,
            result.precision,
            result.how,
        )


def _measured(package: ModelPackage, normalised: Slices) -> Measured:
    measured = Measured.of(normalised)
    if not all(map(math.isfinite, (*measured.intensity, *(measured.noise_level or ())))):
        raise EngineError(package.id, "k-space, coil maps or noise hold values that are not finite")
    return measured


def _outside(package: ModelPackage, measured: Measured, *names: str | None) -> list[str]:
    manifest = package.manifest
    return outside(manifest.ranges, measured, *names, has_switch=bool(manifest.switch))


def _require_fitting(package: ModelPackage, slices: Slices) -> None:
    architecture = ARCHITECTURES.get(package.manifest.architecture)
    if architecture is not None and not isinstance(slices, architecture.takes):
        raise InputError(
            f"model '{package.manifest.name}': expected {architecture.takes.__name__}, got "
            f"{type(slices).__name__}; name a model for them"
        )
    slices.require_fitting()


def _empty_slice(package: ModelPackage, shape: tuple[int, int]) -> Slices:
    architecture = ARCHITECTURES.get(package.manifest.architecture)
    if architecture is not None and architecture.takes is FeatureMaps:
        config = msgspec.convert(package.manifest.config, architecture)
        maps = torch.zeros(1, config.n_maps, *shape, dtype=torch.complex64)  # type: ignore[attr-defined]
        return FeatureMaps(maps=maps, adjoint=maps, normals=(torch.zeros_like,))
    n_coils = (package.manifest.ranges.n_coils or (1, 1))[0]
    return Undersampled(
        kspace=torch.zeros(1, n_coils, *shape, dtype=torch.complex64),
        sampled=torch.ones(1, *shape, dtype=torch.bool),
        coil_maps=torch.full((1, n_coils, *shape), n_coils**-0.5, dtype=torch.complex64),
        spirit_kernel=torch.zeros(1, n_coils, n_coils, 7, 7, dtype=torch.complex64),
        noise_std=torch.zeros(1),
        guide=torch.zeros(1, *shape),
    )
