"""Coil sensitivity maps."""

from collections.abc import Iterable, Iterator
from dataclasses import fields, replace
from typing import Any, Literal, overload

import torch

from gadgets.calibration import PerSlice, calibration_of, is_silent
from gadgets.gadget import Context, Gadget
from gadgets.records import (
    AnyCalibratedKSpace,
    AnyKSpace,
    CalibratedKSpace,
    CalibratedNonCartesianKSpace,
    KSpace,
    NonCartesianKSpace,
)
from gadgets.results_of_study import ResultsOfStudy
from recon_core.coils.espirit import espirit
from recon_core.fourier import resize

LEAST_KERNEL_WIDTH = 3


class CoilMaps(Gadget, frozen=True):
    """Coil maps by ESPIRiT, from the reference lines or the fully sampled centre of the data.

    Images of a slice share maps as long as their calibration data stay the same. Maps of a silent one are
    zero.
    Uecker et al. 2014, doi:10.1002/mrm.24751.
    """

    accepts = AnyKSpace
    emits = AnyCalibratedKSpace

    n_maps: int = 2
    """Sets of maps at most; sets that are zero everywhere are left out. The second is for places that one set
    does not explain, as where a head larger than the field of view folds in."""
    kernel_width: int | None = None
    """Samples of k-space along each axis that a kernel spans: 6 in 2-D and 5 in 3-D if not given.

    If not given and the calibration is less than two such kernels wide, it is half the calibration, at least
    3, which is noted: of seven lines, kernels of 6 make a useless SENSE image (real brains: errors of 80 %),
    kernels of 4 one nearly as good as of many lines (4 %).
    """
    calibration_width: int | None = None
    """Samples of the centre of k-space used along each axis: 24 in 2-D and 16 in 3-D if not given.

    More give little and take long: with 16 coils, 24 cubed takes a minute where 16 cubed takes seconds.
    """
    threshold: float | Literal["auto"] = "auto"
    """Share of the largest singular value below which a kernel counts as noise."""
    crop: float = 0.8
    """Eigenvalue below which the maps are set to zero."""
    backend: Literal["torch", "sigpy"] = "torch"
    """`sigpy` runs SigPy's calibration as a reference; it makes one set, and takes a numeric
    threshold."""

    def __call__(self, items: Iterable[AnyKSpace], context: Context) -> Iterator[AnyCalibratedKSpace]:
        maps = known_maps(self, context)
        for kspace in items:
            calibrated = with_coil_maps(kspace, self, maps)
            for note in calibrated.notes[len(kspace.notes) :]:
                context.logger.warning(note)
            yield calibrated


def known_maps(gadget: CoilMaps, context: Context) -> PerSlice[torch.Tensor]:
    """Where a scan keeps the maps that are computed as `gadget` says."""
    return PerSlice(
        ResultsOfStudy(context, "coil_maps", gadget, lambda maps: {"maps": maps}, lambda kept: kept["maps"])
    )


@overload
def with_coil_maps(kspace: KSpace, gadget: CoilMaps, known: PerSlice[torch.Tensor]) -> CalibratedKSpace: ...
@overload
def with_coil_maps(
    kspace: NonCartesianKSpace, gadget: CoilMaps, known: PerSlice[torch.Tensor]
) -> CalibratedNonCartesianKSpace: ...
def with_coil_maps(kspace: AnyKSpace, gadget: CoilMaps, known: PerSlice[torch.Tensor]) -> AnyCalibratedKSpace:
    """The k-space with maps computed as `gadget` says, or those `known` for its calibration data."""
    if is_silent(kspace):
        return calibrated_by(kspace, kspace.data.new_zeros(1, len(kspace.data), *kspace.shape))
    calibration = calibration_of(kspace)
    n_z, n_y, n_x = kspace.shape
    wanted, usual_width = (24, 6) if n_z == 1 else (16, 5)
    wanted = gadget.calibration_width or wanted
    centre = resize(calibration, [min(length, wanted) for length in calibration.shape[1:]])
    n_least = min(length for length, n in zip(centre.shape[1:], (n_z, n_y, n_x), strict=True) if n > 1)
    kernel_width = gadget.kernel_width or max(LEAST_KERNEL_WIDTH, min(usual_width, (n_least + 1) // 2))
    if gadget.kernel_width is None and kernel_width < usual_width:
        note = f"coil maps calibrated from only {n_least} lines, with kernels of {kernel_width}"
        kspace = replace(kspace, notes=(*kspace.notes, note))

    def compute() -> torch.Tensor:
        maps = espirit(
            centre,
            (n_z, n_y, n_x),
            kernel_width=kernel_width,
            threshold=gadget.threshold,
            crop=gadget.crop,
            n_maps=1 if gadget.backend == "sigpy" else min(gadget.n_maps, len(centre)),
            backend=gadget.backend,
        ).maps
        used = [True, *(bool(of_set.any()) for of_set in maps[1:])]
        return maps[used]

    return calibrated_by(kspace, known.get(kspace, centre, compute, n_z, n_y, n_x))


@overload
def calibrated_by(kspace: KSpace, coil_maps: torch.Tensor) -> CalibratedKSpace: ...
@overload
def calibrated_by(kspace: NonCartesianKSpace, coil_maps: torch.Tensor) -> CalibratedNonCartesianKSpace: ...
def calibrated_by(kspace: AnyKSpace, coil_maps: torch.Tensor) -> AnyCalibratedKSpace:
    """The k-space with these maps, `(map set, coil, z, y, x)`."""
    if isinstance(kspace, NonCartesianKSpace):
        return CalibratedNonCartesianKSpace(**_fields(kspace, NonCartesianKSpace), coil_maps=coil_maps)
    return CalibratedKSpace(**_fields(kspace, KSpace), coil_maps=coil_maps)


def _fields(kspace: AnyKSpace, of: type[AnyKSpace]) -> dict[str, Any]:
    return {field.name: getattr(kspace, field.name) for field in fields(of)}
