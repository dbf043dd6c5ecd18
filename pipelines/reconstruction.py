"""From a scan to its images, by a recipe: the one path that server, command line, replay and Python share."""

import logging
from collections.abc import Generator, Iterable, Iterator, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import ismrmrd
import numpy as np
import numpy.typing as npt

from gadgets.gadget import Context
from gadgets.guides import keep_guide
from gadgets.mrd_images import from_mrd, to_mrd
from gadgets.records import ImageSeries, KSpace, Readouts
from gadgets.study import Studies, StudyStore
from pipelines.importers.cartesian import cartesian_scan
from pipelines.inference import device, process_engine
from pipelines.mrd_header import header_from_xml
from pipelines.recipe import Recipe, recipe_by_name, recipe_from_file
from pipelines.runner import run_threaded
from pipelines.sources import Scan, open_scan
from recon_core.engine.engine import Engine
from recon_core.engine.waiting import Priority
from recon_core.errors import InputError

if TYPE_CHECKING:
    from pipelines.outputs.dicom_archive import DicomArchive

_LOGGER = logging.getLogger("reconstream")


class _WarningsOnce(logging.LoggerAdapter[Any]):
    """Passes on each warning of a scan the first time: every repetition and slice would say it again."""

    def __init__(self, logger: Any) -> None:
        super().__init__(logger)
        self._said: set[str] = set()

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        if level == logging.WARNING:
            text = str(msg) % args if args else str(msg)
            if text in self._said:
                return
            self._said.add(text)
        super().log(level, msg, *args, **kwargs)


def reconstruct_scan(
    recipe: Recipe,
    header_xml: bytes,
    items: Iterable[Any],
    *,
    study: Studies | None = None,
    engine: Engine | None = None,
    archive: "DicomArchive | None" = None,
    is_live: bool = True,
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger] = _LOGGER,
) -> Generator[ismrmrd.Image, None, None]:
    """The images of a stream of readouts, waveforms or images, as soon as each is finished.

    `is_live` says that `items` may keep us waiting, as a file does not (`run_threaded`), and that somebody
    waits for the images: networks serve such scans first. They run in `engine`, or in one of the process.
    What the recipe's DicomOut is to keep goes to `archive`.
    Raises RecipeError for a recipe that cannot run, StreamError for a header that cannot be read,
    GadgetError when a gadget fails, and InputError when nothing that came makes an image.
    """
    logger = _WarningsOnce(logger)
    header = header_from_xml(header_xml)
    recipe = recipe.for_scan(header)
    provenance = provenance_of(recipe)
    context = Context(
        header=header,
        study=study or StudyStore(),
        device=device(),
        engine=engine or (process_engine() if recipe.models else None),
        priority=Priority.INLINE if is_live else Priority.REPLAY,
        archive=archive.scan(header_xml, provenance) if archive else None,
        logger=logger,
    )
    for note in recipe.notes:
        logger.warning("%s", note)
    n_images = 0
    for result in run_threaded(recipe, _as_records(items, recipe, context), context, is_live=is_live):
        if isinstance(result, ImageSeries):
            images = to_mrd(result, provenance)
        elif isinstance(result, ismrmrd.Image):
            images = [result]
        else:
            images = []
            logger.debug("%s left the last gadget and is not sent", type(result).__name__)
        n_images += len(images)
        yield from images
        if isinstance(result, ImageSeries):  # those who wait for them have them
            for image in images:
                keep_guide(image, context)
    if recipe.makes_images and not n_images:
        raise InputError(
            f"recipe '{recipe.name}': expected data that make an image, got none that its gadgets take; "
            f"send {recipe.start}, or choose a recipe for what was sent"
        )


def _as_records(items: Iterable[Any], recipe: Recipe, context: Context) -> Iterator[Any]:
    """Items as the first gadget takes them: images as records, k-space on the device."""
    for item in items:
        if isinstance(item, KSpace):
            yield item.to(context.device)
        elif isinstance(item, ismrmrd.Image) and recipe.start == "images":
            yield from_mrd(item)
        else:
            yield item


def reconstruct(
    source: Path | str | npt.NDArray[Any] | Iterable[Readouts | ismrmrd.Acquisition],
    recipe: Recipe | Path | str = "auto",
    *,
    parameters: Mapping[str, Any] | None = None,
    header: Any = None,
    axes: str = "coil ky kx",
) -> list[ismrmrd.Image]:
    """The images of a file, of acquisitions in memory, or of a k-space array.

    Args:
        source: the path of an ISMRMRD file, MRD stream or journal; or acquisitions or blocks of readouts,
            which need `header`; or a k-space array whose axes `axes` names, of ``kx ky kz coil slice
            repetition contrast phase set average``, zero where not sampled, k = 0 at index n // 2.
        recipe: a shipped recipe's name, the path of one of your own, or a `Recipe`.
        parameters: replaces parameters of the recipe, as ``{"Sense.n_iterations": 20}``.
        header: the MRD header, parsed (`ismrmrd.xsd.ismrmrdHeader`) or as XML.

    Raises the errors of `reconstruct_scan`, and InputError for a source that is none of these.
    """
    if isinstance(recipe, Path):
        recipe = recipe_from_file(recipe)
    elif isinstance(recipe, str):
        recipe = recipe_by_name(recipe)
    scan = _scan(source, header, axes)
    is_live = not isinstance(source, str | Path)
    recipe = recipe.with_parameters(parameters or {})
    return list(reconstruct_scan(recipe, scan.header_xml, scan.items(), is_live=is_live))


def _scan(source: Any, header: Any, axes: str) -> Scan:
    if isinstance(source, str | Path):
        return open_scan(source)
    if isinstance(source, np.ndarray):
        return cartesian_scan(source, axes, where="k-space array", header=header)
    if header is None:
        raise InputError(
            "reconstruct: expected the MRD header beside acquisitions, got none; give it as `header`"
        )
    header_xml = header if isinstance(header, bytes) else header.toXML().encode()
    return Scan(header_xml, lambda: iter(source))


def provenance_of(recipe: Recipe) -> Mapping[str, str]:
    """What every image says of how it was made; `to_mrd` puts the prefix ``Reconstream.`` before each key."""
    return {
        "Version": version("reconstream"),
        "Recipe": recipe.name,
        "RecipeHash": recipe.hash,
    }
