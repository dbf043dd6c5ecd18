"""Raw scans as slices to train on: read, whitened, cropped and compressed as for a reconstruction."""

import logging
import re
from collections.abc import Iterator
from pathlib import Path

import torch

from gadgets.gadget import Context
from gadgets.records import KSpace
from pipelines.importers import IMPORTERS, kind_of
from pipelines.mrd_header import header_from_xml
from pipelines.recipe import Recipe, Step
from pipelines.runner import run
from pipelines.sources import Scan, open_scan
from recon_core.calibration import calibration_block
from recon_core.errors import InputError
from recon_core.fourier import ifft
from recon_core.training.slices import Slice
from recon_core.training.sources import ENDINGS, Source

STEPS = Recipe(
    name="training scans",
    about="Whitened k-space of few coils",
    steps=(
        Step("NoiseAdjust"),
        Step("Accumulate"),
        Step("RemoveOversampling"),
        Step("CoilCompression", {"n_coils": 8}),
    ),
    makes_images=False,
)
_LOGGER = logging.getLogger("reconstream.training")
_LOGGER.setLevel(logging.ERROR)  # networks are trained on unwhitened scans too; no need to say so of each
LEAST_SAMPLED = 0.5
"""Share of each axis of k-space that has to be sampled without gaps."""


def raw_slices(path: Path) -> Iterator[Slice]:
    """`(coil, ky, kx)` slices of a fully sampled scan: ISMRMRD, fastMRI HDF5, or what `import` reads.

    A volume is cut into slices along kz. Of a k-space whose edges were not sampled, as with partial Fourier,
    the largest full block about the centre is taken, which lowers the resolution.

    Raises InputError for a file that is no scan, and for an undersampled scan.
    """
    scan = _scan(path)
    context = Context(header=header_from_xml(scan.header_xml), logger=_LOGGER)
    position = 0
    for item in run(STEPS, scan.items(), context):
        if isinstance(item, KSpace):
            kspace = _full_block(item, path)
            for part in ifft(kspace, (-3,)).unbind(1):
                yield Slice(data=part.contiguous(), kind="kspace", subject=path.name, position=position)
                position += 1


def _scan(path: Path) -> Scan:
    try:
        return open_scan(path)
    except InputError:
        try:
            kind = kind_of(path)
        except InputError:
            kind = ""
        if not kind:
            raise
        return IMPORTERS[kind](path)


def _full_block(kspace: KSpace, path: Path) -> torch.Tensor:
    block = calibration_block(kspace.sampled)
    shape = kspace.sampled.shape
    if block is None or any(b.stop - b.start < LEAST_SAMPLED * n for b, n in zip(block, shape, strict=True)):
        raise InputError(
            f"{path}: expected a fully sampled scan to learn from, got one with gaps; leave it out"
        )
    return kspace.data[(slice(None), *block)]


def site_source(path: Path, named_after: Path, anatomy: str, contrast: str, subject: str) -> Source:
    """All that can be read at a path of a site's own, a file or a folder; its terms are the strictest."""
    name = re.sub(r"[^0-9a-z]+", "-", named_after.resolve().stem.lower()).strip("-") or "site"
    return Source(
        name=name,
        files=tuple(f"*{ending}" for ending in ENDINGS) if path.is_dir() else (path.name,),
        licence="the site's own",
        terms="research",
        anatomy=anatomy,
        contrast=contrast,
        subject=subject,
    )
