"""From a scan to its images, by a recipe: the one path that server, command line, replay and Python share."""

import logging
from collections.abc import Iterable, Iterator, Mapping
from importlib.metadata import version
from typing import Any

import ismrmrd
import torch

from gadgets.gadget import Context
from gadgets.mrd_images import from_mrd, to_mrd
from gadgets.records import ImageSeries
from gadgets.study import StudyStore
from pipelines.mrd_header import header_from_xml
from pipelines.recipe import Recipe
from pipelines.runner import run_threaded

_LOGGER = logging.getLogger("reconstream")


def reconstruct_scan(
    recipe: Recipe,
    header_xml: bytes,
    items: Iterable[Any],
    *,
    study: StudyStore | None = None,
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger] = _LOGGER,
) -> Iterator[ismrmrd.Image]:
    """The images of a stream of readouts, waveforms or images, as soon as each is finished.

    Raises RecipeError for a recipe that cannot run, StreamError for a header that cannot be read, and
    GadgetError when a gadget fails.
    """
    context = Context(
        header=header_from_xml(header_xml),
        study=study or StudyStore(),
        device=torch.device("cuda" if torch.cuda.is_available() else "cpu"),
        logger=logger,
    )
    provenance = provenance_of(recipe)
    for note in recipe.notes:
        logger.warning("%s", note)
    if recipe.start == "images":
        items = (from_mrd(item) if isinstance(item, ismrmrd.Image) else item for item in items)
    for result in run_threaded(recipe, items, context):
        if isinstance(result, ImageSeries):
            yield from to_mrd(result, provenance)
        elif isinstance(result, ismrmrd.Image):
            yield result
        else:
            logger.debug("%s left the last gadget and is not sent", type(result).__name__)


def provenance_of(recipe: Recipe) -> Mapping[str, str]:
    """What every image says of how it was made."""
    return {
        "Reconstream.Version": version("reconstream"),
        "Reconstream.Recipe": recipe.name,
        "Reconstream.RecipeHash": recipe.hash,
    }
