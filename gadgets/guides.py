"""Finished images as guides for the next scans of the study, with what it takes to match them."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import ismrmrd
import msgspec
import numpy as np
import torch

from gadgets.gadget import Context
from gadgets.image_geometry import geometry_of_image
from gadgets.mrd_images import FALLBACK
from gadgets.reconstructed import ACCELERATION, METHOD
from gadgets.study import Item, Kept
from recon_core.image_geometry import ImageGeometry

_FIRST_ONLY = ("repetition", "phase", "set", "average")
"""Counters of which a guide has the first: the others show the same anatomy again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contrast:
    """What an image was weighted with, as far as the header says."""

    protocol: str = ""
    sequence: str = ""
    series: str = ""
    sequence_type: str = ""
    repetition_time_ms: float | None = None
    echo_time_ms: float | None = None
    inversion_time_ms: float | None = None
    flip_angle_deg: float | None = None

    @classmethod
    def of(cls, header: Any, contrast: int = 0) -> "Contrast":
        """That of images with this number of the counter `contrast`, by a parsed MRD header."""
        measurement, sequence = header.measurementInformation, header.sequenceParameters

        def number(name: str) -> float | None:
            values: list[float] = getattr(sequence, name, None) or []
            return (values[contrast] if contrast < len(values) else values[0]) if values else None

        def text(record: Any, name: str) -> str:
            value = getattr(record, name, None)
            return str(getattr(value, "value", value) or "")

        return cls(
            protocol=text(measurement, "protocolName"),
            sequence=text(measurement, "sequenceName"),
            series=text(measurement, "seriesDescription"),
            sequence_type=text(sequence, "sequence_type"),
            repetition_time_ms=number("TR"),
            echo_time_ms=number("TE"),
            inversion_time_ms=number("TI"),
            flip_angle_deg=number("flipAngle_deg"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Guide:
    """An image, one slice or volume, of an earlier scan of the same study and frame of reference."""

    scan: str
    """The same for all images of one scan."""
    geometry: ImageGeometry
    contrast: Contrast
    slice: int
    """The counter, which tells slices of a scan apart; where they lie, `geometry` says."""
    acceleration: float
    """Samples of the outline over those acquired; 1 for a fully sampled scan."""
    kept_at: float
    """Seconds since 1970."""
    load: Callable[[], torch.Tensor | None]
    """`(z, y, x)`, magnitudes or complex; None where it has been forgotten since."""


def guides(context: Context) -> list[Guide]:
    """What the study has for this scan, newest first: no image of its own, none of another patient."""
    return [_guide(kept) for kept in context.study.find("guide", context.scan)]


def keep_guide(image: ismrmrd.Image, context: Context) -> None:
    """Leave a finished image to later scans of the study, if it is good enough to be trusted with that.

    It is a magnitude or complex, of one channel, the first of its repetitions, phases, sets and averages. It
    was fully sampled, or unfolded from its own data alone: what a network has made may not be there.
    """
    scan, meta = context.scan, image.meta
    acceleration = float(meta.get(ACCELERATION, "inf"))
    is_classical = FALLBACK not in meta and meta.get(METHOD) != "Fourier" and acceleration < float("inf")
    if (
        not scan.study
        or not (acceleration == 1 or is_classical)
        or image.image_type not in (ismrmrd.IMTYPE_MAGNITUDE, ismrmrd.IMTYPE_COMPLEX)
        or len(image.data) != 1
        or any(getattr(image, counter) for counter in _FIRST_ONLY)
    ):
        return
    pixels = np.array(image.data[0], np.complex64 if np.iscomplexobj(image.data) else np.float32)
    about = {
        "geometry": geometry_of_image(image),
        "contrast": Contrast.of(context.header, image.contrast),
        "slice": int(image.slice),
        "acceleration": acceleration,
    }
    counters = f"{image.image_series_index} {image.contrast} {image.slice}"
    context.study.keep(
        Item(
            kind="guide",
            scan=scan,
            name=f"{scan.measurement}\n{counters}",
            tensors={"image": torch.from_numpy(pixels)},
            about=msgspec.to_builtins(about),
        )
    )


def _guide(kept: Kept) -> Guide:
    about = kept.about

    def load() -> torch.Tensor | None:
        tensors = kept.load()
        return None if tensors is None else tensors["image"]

    return Guide(
        scan=kept.measurement,
        geometry=msgspec.convert(about["geometry"], ImageGeometry),
        contrast=msgspec.convert(about["contrast"], Contrast),
        slice=about["slice"],
        acceleration=about["acceleration"],
        kept_at=kept.kept_at,
        load=load,
    )
