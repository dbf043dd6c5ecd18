"""A network's image, or a classical one that says that it is."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

import torch

from gadgets.anatomy import anatomy_of
from gadgets.calibration import PerSlice, calibration_of
from gadgets.coil_maps import CoilMaps, calibrated_by, known_maps, with_coil_maps
from gadgets.fourier_reconstruction import fourier_image, undersampling_note
from gadgets.gadget import Context, Gadget
from gadgets.guide_search import GuideSearch
from gadgets.image_geometry import geometry_of_kspace
from gadgets.mrd_images import FALLBACK, PROVENANCE
from gadgets.network_input import sliced_axis, slices_of, spirit_kernels
from gadgets.reconstructed import METHOD, reconstructed
from gadgets.records import CalibratedKSpace, ImageSeries, KSpace
from gadgets.wavelet_sense import WaveletSense, wavelet_reconstruction
from recon_core.engine.engine import Reconstructed
from recon_core.engine.manifest import Manifest
from recon_core.engine.slices import joined, single_slices
from recon_core.errors import EngineError, InputError, OutOfRange, ReconstreamError
from recon_core.lattice import regular_acceleration
from recon_core.nets.registry import ARCHITECTURES

_N_FAILURES = 2
"""In a row, after which the network is not asked again in a scan: a stuck one costs `timeout_s` a time."""
_TOGETHER = 8
"""Slices that the engine is asked for at a time. Hundreds of a volume take minutes on a CPU: so sessions take
turns, and the time limit tells a stuck network from one with much to do."""
_OBJECT = 0.05
"""Share of a volume's largest magnitude that a slice with an object reaches."""


class NetworkReconstruction(Gadget, frozen=True):
    """The image of a model package's network, from slices or from volumes with an axis fully sampled.

    Several coils need maps: those of `CoilMaps` before it, else the same are made here. Slices of a volume
    without an object are zero-filled, which there is all there is to do. A network that takes a guide is
    given the image of an earlier scan of the study that shows the same anatomy (`GuideSearch`), if any does.

    Where the network fails, or the package says that the scan is none it was made for, the image is that of
    `WaveletSense`; where maps cannot be calibrated, or nothing is undersampled, that of
    `FourierReconstruction`. Its notes say why, and its meta and series description that it is a fallback.
    """

    accepts = KSpace
    emits = ImageSeries

    model: str = "multicoil_cascade"
    """Name of the model package."""
    anatomy: str = ""
    """As the package calls it; if not given, that of the header's bodyPartExamined."""
    contrast: str = ""
    """As the package calls it; not checked if not given."""
    allow_out_of_range: bool = False
    """Let the network have scans that the package's gate refuses; the notes say what it was not made for."""
    timeout_s: float = 60.0
    """What up to eight slices may take, waiting for other sessions included."""
    fallback_iterations: int = 50
    """Of the fallback, `WaveletSense.n_iterations`."""
    fallback_regularisation: float | None = None
    """Of the fallback, `WaveletSense.regularisation`."""

    @property
    def models(self) -> tuple[str, ...]:
        return (self.model,)

    def __call__(self, items: Iterable[KSpace], context: Context) -> Iterator[ImageSeries]:
        maps = known_maps(CoilMaps(), context)
        kernels: PerSlice[torch.Tensor] = PerSlice()
        search = GuideSearch(context)
        n_failures = 0
        for kspace in items:
            try:
                kspace = _with_maps(kspace, maps)
                if n_failures == _N_FAILURES:
                    raise InputError(
                        f"model '{self.model}' failed before in this scan and is not asked again"
                    )
                series = self._network_image(kspace, context, kernels, search)
            except (ReconstreamError, RuntimeError, MemoryError) as error:  # torch raises RuntimeError
                context.logger.debug("no image of model '%s'", self.model, exc_info=error)
                n_failures += isinstance(error, EngineError) and not isinstance(error, OutOfRange)
                reason = str(error) if isinstance(error, ReconstreamError) else repr(error)
            else:
                n_failures = 0
                yield series
                continue
            # Beyond the except, which would keep the arrays of the failed frames.
            yield self._fallback_image(kspace, reason, context)

    def _network_image(
        self,
        kspace: CalibratedKSpace,
        context: Context,
        kernels: PerSlice[torch.Tensor],
        search: GuideSearch,
    ) -> ImageSeries:
        if context.engine is None:
            raise InputError(f"model '{self.model}': expected an engine to run it, got none")
        package = context.engine.package(self.model)
        architecture = ARCHITECTURES[package.manifest.architecture]
        anatomy, contrast = self._anatomy(context, package.manifest), self.contrast or None
        axis = sliced_axis(kspace)
        slices = slices_of(kspace, axis)
        image = slices.zero_filled()
        meta: dict[str, str] = {}
        notes: list[str] = []
        if architecture.wants_guide:
            place = geometry_of_kspace(kspace.header, kspace.encoding)
            found = search.guide_of(image.movedim(0, axis), place)
            if found.image is not None:
                slices = replace(slices, guide=found.image.movedim(axis, 0))
            meta, notes = found.meta, list(found.refused)
        peaks = image.abs().amax((1, 2))
        which = torch.nonzero(~(peaks < _OBJECT * peaks.max())).flatten().tolist()  # all, where there is NaN
        singles = single_slices(slices)
        slices = joined([singles[i] for i in which])
        width = architecture.spirit_kernel_width
        if width and slices.coil_maps is not None:
            kernel = kernels.get(
                kspace,
                calibration_of(kspace),
                lambda: spirit_kernels(kspace, axis, which, width),
                axis,
                which,
            )
            slices = replace(slices, spirit_kernel=kernel)
        # All of them first: a slice at the end that is refused should not cost the time of those before.
        reasons = context.engine.check(self.model, slices, anatomy=anatomy, contrast=contrast)
        if reasons and not self.allow_out_of_range:
            raise OutOfRange(package.id, "; ".join(reasons))
        singles = single_slices(slices)
        results = [
            context.engine.reconstruct(
                self.model,
                joined(singles[i : i + _TOGETHER]),
                anatomy=anatomy,
                contrast=contrast,
                priority=context.priority,
                timeout_s=self.timeout_s,
                allow_out_of_range=self.allow_out_of_range,
            )
            for i in range(0, len(singles), _TOGETHER)
        ]
        image[which] = torch.cat([result.image for result in results])
        if reasons:
            notes.append(f"out of the range of model '{package.id}': {'; '.join(reasons)}")
        series = reconstructed(kspace, image.movedim(0, axis)[None], f"network {package.id}", *notes)
        # The network's k-space is full: there is nothing left to complete.
        return replace(series, acquired=None, meta={**series.meta, **provenance(results), **meta})

    def _anatomy(self, context: Context, manifest: Manifest) -> str | None:
        anatomy = self.anatomy or anatomy_of(context.header)
        if anatomy is None and len(manifest.switch) > 1:
            raise InputError(
                f"model '{self.model}': expected an anatomy of {', '.join(manifest.switch)}, got a header "
                "without bodyPartExamined; set NetworkReconstruction.anatomy"
            )
        return anatomy

    def _fallback_image(self, kspace: KSpace, reason: str, context: Context) -> ImageSeries:
        is_full = regular_acceleration(kspace.sampled.any(-1)) == (1, 1)
        if isinstance(kspace, CalibratedKSpace) and not is_full:
            fallback = WaveletSense(
                n_iterations=self.fallback_iterations, regularisation=self.fallback_regularisation
            )
            series = wavelet_reconstruction(kspace, fallback)
        else:
            series = fourier_image(kspace, "low_resolution", *filter(None, [undersampling_note(kspace)]))
        note = f"{reason}; fallback: {series.meta[METHOD]}"
        context.logger.warning("%s", note)
        meta: dict[str, str | list[str]] = {**series.meta, FALLBACK: "true"}
        return replace(series, meta=meta, notes=(*series.notes, note))


def _with_maps(kspace: KSpace, known: PerSlice[torch.Tensor]) -> CalibratedKSpace:
    """A single coil has a map of ones. Raises CalibrationError for too few calibration data of several."""
    if isinstance(kspace, CalibratedKSpace):
        return kspace
    if len(kspace.data) == 1:
        return calibrated_by(kspace, torch.ones_like(kspace.data)[None])
    return with_coil_maps(kspace, CoilMaps(), known)


def provenance(results: Sequence[Reconstructed]) -> dict[str, str | list[str]]:
    """The meta of a network's image. `Unchecked` is what its package's ranges could not be held against."""
    result = results[0]
    unchecked = {f"{PROVENANCE}Unchecked": list(result.unchecked)} if result.unchecked else {}
    return {
        f"{PROVENANCE}Model": result.model,
        f"{PROVENANCE}ModelHash": result.hash,
        f"{PROVENANCE}Precision": ", ".join(dict.fromkeys(one.precision for one in results)),
        FALLBACK: "false",
        **unchecked,
    }
