"""A recipe as one node of a Gadgetron chain: started by the parent, configured by it, heard by it."""

import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any
from xml.etree import ElementTree

import ismrmrd
import numpy as np

from gadgets.external import error_message
from gadgets.records import Readouts
from pipelines.gadgetron_messages import (
    Bucket,
    ImageArray,
    ReconData,
    read_bucket,
    read_image_array,
    read_recon_data,
)
from pipelines.gadgetron_types import header_as_received, image_series_from, image_series_of, kspaces_of
from pipelines.limits import Limits
from pipelines.messages import Close, MessageId
from pipelines.mrd_header import header_from_xml
from pipelines.receiver import Receiver
from pipelines.recipe import Recipe, recipe_by_name, recipe_from_text
from pipelines.reconstruction import reconstruct_scan
from pipelines.sender import Sender
from pipelines.stream import MessageReader
from recon_core.errors import RecipeError, ReconstreamError, SessionError, StreamError

_LOGGER = logging.getLogger("reconstream")


def serve_parent(connection: Any) -> None:
    """Reconstruct what the parent sends and send it the images; a failure goes to it as ERROR.

    `connection` is the `gadgetron.external.Connection` to the parent, configuration and header read. It is
    asked for nothing else: it spins at full load when the parent vanishes.
    """
    wire, limits = connection.socket.socket, Limits()
    sender, receiver = Sender(wire, limits.send_timeout_s), Receiver(wire, None, limits.idle_timeout_s)
    try:
        recipe = recipe_from_configuration(connection.config)
        _ = recipe.gadgets
        messages = iter(_ParentReader(receiver.chunks(), limits))
        for image in _images(recipe, connection.raw_bytes.header, messages):
            sender.image(_readable_by_core(image))
    except ReconstreamError as error:
        _report(str(error), sender, receiver, limits)
    except Exception as error:
        _LOGGER.exception("unexpected failure")
        _report(f"internal error: {type(error).__name__}: {error}", sender, receiver, limits)


def recipe_from_configuration(configuration: ElementTree.Element | None) -> Recipe:
    """The recipe of an `<external>` element's `<configuration>`.

    ::

        <configuration>
            <property name="recipe" value="cartesian_sense"/>
            <property name="Sense.n_iterations" value="20"/>
        </configuration>

    The recipe is the name of a shipped one, or the text of one in TOML. Raises RecipeError.
    """
    where = "in the <configuration> of <external>"
    if configuration is None:
        raise RecipeError(f"recipe {where}: expected XML, got none that can be read; correct it")
    properties = {p.get("name", ""): p.get("value", "") for p in configuration.iter("property")}
    named = properties.pop("recipe", "") or configuration.findtext("recipe", "").strip()
    if not named:
        raise RecipeError(
            f'recipe {where}: expected <property name="recipe" value="..."/>, got {sorted(properties)}; '
            "add it"
        )
    recipe = recipe_from_text(named, where) if "[" in named else recipe_by_name(named)
    return recipe.with_parameters(properties)


_READ: dict[int, Callable[[MessageReader], Any]] = {
    MessageId.BUCKET: read_bucket,
    MessageId.RECON_DATA: read_recon_data,
    MessageId.IMAGE_ARRAY: read_image_array,
}


class _ParentReader(MessageReader):
    """Reads Gadgetron's own messages too."""

    def _read(self, number: int) -> Any:
        read = _READ.get(number)
        if read is None:
            return super()._read(number)
        self._skip_id()
        return read(self)


def _images(recipe: Recipe, header_xml: bytes, messages: Iterator[Any]) -> Iterator[ismrmrd.Image]:
    """The images of what is left to do at the point of the parent's chain where we are."""
    held = _up_to_imaging(messages)
    match held[-1:]:
        case [Readouts() as readouts] | [Bucket(readouts=(*_, readouts))]:
            header_xml = header_as_received(header_xml, readouts)
        case [ReconData()]:
            recipe = recipe.starting_from("k-space")
        case [ImageArray() | ismrmrd.Image()]:
            recipe = recipe.starting_from("images")
    items = _items(itertools.chain(held, messages), header_from_xml(header_xml))
    yield from reconstruct_scan(recipe, header_xml, items)


def _readable_by_core(image: ismrmrd.Image) -> ismrmrd.Image:
    """The core's reader knows no signed integers as we would write them."""
    if image.data.dtype.kind != "i":
        return image
    return ismrmrd.Image(image.getHead(), data=image.data.astype(np.float32), meta=image.meta)


def _up_to_imaging(messages: Iterator[Any]) -> list[Any]:
    """The messages up to the first that says what the parent sends; noise and waveforms do not."""
    held = []
    for message in messages:
        held.append(message)
        match message:
            case ismrmrd.Waveform():
                continue
            case Readouts() if message.flagged("IS_NOISE_MEASUREMENT").all():
                continue
            case _:
                break
    return held


def _items(messages: Iterator[Any], header: Any) -> Iterator[Any]:
    """Our records of whatever the parent's chain carries at this point, up to CLOSE."""
    for message in messages:
        match message:
            case Close():
                return
            case Readouts() | ismrmrd.Waveform():
                yield message
            case Bucket(readouts, waveforms):
                yield from waveforms
                yield from readouts
            case ReconData():
                yield from kspaces_of(message, header)
            case ImageArray(waveforms=waveforms):
                yield from waveforms
                yield from image_series_of(message)
            case ismrmrd.Image():
                yield image_series_from(message)
            case _:
                raise StreamError(
                    "parent: expected readouts, buckets, ReconData, images or CLOSE, got "
                    f"{type(message).__name__}; send nothing else"
                )
    raise StreamError("parent: expected CLOSE (id 4) at the end, got the end of the stream; it vanished")


def _report(error: str, sender: Sender, receiver: Receiver, limits: Limits) -> None:
    """ERROR, then CLOSE; then wait, receiving, until the parent has read them and hangs up."""
    _LOGGER.error("%s", error)
    try:
        sender.write(error_message(error))
        sender.close()
    except SessionError as unheard:
        _LOGGER.info("the parent did not hear it: %s", unheard)
    receiver.discard()
    receiver.join(limits.linger_timeout_s)
