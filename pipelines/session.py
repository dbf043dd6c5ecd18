"""One client from its first byte to CLOSE."""

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from importlib.metadata import version
from time import monotonic
from typing import TYPE_CHECKING, Any

import ismrmrd

from gadgets.records import Readouts
from gadgets.study import Studies
from pipelines.dependency_queries import dependency_answer
from pipelines.journal import Journal
from pipelines.limits import Limits
from pipelines.messages import Close, ConfigFile, ConfigText, Header, Query, Text
from pipelines.mrd_header import header_from_xml
from pipelines.receiver import Receiver
from pipelines.recipe import Recipe, recipe_by_name, recipe_from_text, shipped_recipes
from pipelines.reconstruction import reconstruct_scan
from pipelines.replay import with_text_parameters
from pipelines.sender import Sender
from pipelines.stream import MessageReader
from recon_core.engine.engine import Engine
from recon_core.errors import ReconstreamError, SessionError, StreamError

if TYPE_CHECKING:
    from pipelines.outputs.dicom_archive import DicomArchive

ERROR_PREFIX = "ERROR "
"""Before the text of an error, as FIRE clients expect of a TEXT that reports a failure."""


class Session:
    """Reads one client's stream, reconstructs it, and answers: images, or one TEXT error, then CLOSE."""

    def __init__(
        self,
        connection: socket.socket,
        journal: Journal | None,
        limits: Limits,
        studies: Studies,
        engine: Engine,
        logger: logging.LoggerAdapter[logging.Logger],
        error_prefix: str = ERROR_PREFIX,
        archive: "DicomArchive | None" = None,
    ) -> None:
        self._connection, self._limits, self._studies, self._logger = connection, limits, studies, logger
        self._journal, self._engine, self._error_prefix = journal, engine, error_prefix
        self._archive = archive
        self._receiver = Receiver(connection, journal, limits.handshake_timeout_s)
        self._sender = Sender(connection, limits.send_timeout_s)
        self._interruption: str | None = None
        self._answered = False
        self.has_begun = False
        """Whether there is a scan that should be let end: its header has come."""

    def run(self) -> None:
        """Serve the client to the end. Whatever the client or a recipe did is answered, never raised."""
        try:
            self._converse()
            self._sender.close()
            self._answered = True
            if self._journal and not self.has_begun:
                self._journal.remove()  # only questions: health checks ask them by the thousand
        except ReconstreamError as error:
            self.report(self._interruption or str(error))
        except Exception as error:
            self._logger.exception("unexpected failure")
            self.report(self._interruption or f"internal error: {type(error).__name__}: {error}")
        finally:
            self._hang_up()

    def interrupt(self, reason: str) -> None:
        """End the session from another thread; the client gets `reason` as its error."""
        self._interruption = reason
        self._sender.timeout_s = min(self._sender.timeout_s, self._limits.linger_timeout_s)
        self._receiver.interrupt()

    def refuse(self, reason: str) -> None:
        """Instead of `run`: tell the client why it is not served."""
        self.report(reason)
        self._hang_up()

    def report(self, error: str) -> None:
        """Tell the client and the log what went wrong, and close; once, and not after CLOSE."""
        if self._answered:
            return
        self._answered = True
        self._logger.error("%s", error)
        try:
            self._sender.text(self._error_prefix + error)
            self._sender.close()
        except SessionError as unheard:
            self._logger.info("the client did not hear it: %s", unheard)

    def _converse(self) -> None:
        messages = iter(MessageReader(self._receiver.chunks(), self._limits))
        recipe, header, first = self._agree(messages)
        if recipe is None or header is None:
            return
        self._logger.info("recipe '%s'", recipe.name)
        n_images = 0
        items = self._data(first, messages)
        scan = reconstruct_scan(
            recipe,
            header.xml,
            items,
            study=self._studies,
            engine=self._engine,
            archive=self._archive,
            logger=self._logger,
        )
        with closing(scan) as images:
            for image in images:
                self._sender.image(image)
                n_images += 1
        self._logger.info("%d images sent", n_images)

    def _agree(self, messages: Iterator[Any]) -> tuple[Recipe | None, Header | None, Any]:
        """What precedes the data: recipe, parameters, header; and the first item of data, or Close."""
        recipe: Recipe | None = None
        header: Header | None = None
        deadline = monotonic() + self._limits.handshake_timeout_s
        for message in messages:
            if header is None and monotonic() > deadline:
                raise SessionError(
                    "connection: expected a configuration and a header within "
                    f"{self._limits.handshake_timeout_s:g} s, got neither or one; send both at once"
                )
            match message:
                case Query():
                    self._answer(message)
                case Text(text) if recipe:
                    self._logger.info("client: %s", text)
                    recipe = with_text_parameters(recipe, text)
                case ConfigFile() | ConfigText() if recipe is None and (
                    answer := dependency_answer(message, self._studies)
                ):
                    self._sender.dependencies(answer)
                case ConfigFile(name) if recipe is None:
                    recipe = recipe_by_name(name)
                case ConfigText(text) if recipe is None:
                    recipe = recipe_from_text(text, "in CONFIG_TEXT")
                case Header() if recipe and header is None:
                    header_from_xml(message.xml)  # refuse it now: data may be minutes away
                    header, self.has_begun = message, True
                    self._receiver.idle_timeout_s = self._limits.idle_timeout_s
                case Close() if header is None:
                    return recipe, header, message
                case Readouts() | ismrmrd.Waveform() | ismrmrd.Image() if header:
                    _ = recipe and recipe.gadgets  # refuse a recipe that cannot run before taking its data
                    return recipe, header, message
                case _:  # CLOSE after a header too: a scan without data
                    raise _out_of_place(message, _expected(recipe, header))
        raise self._gone()

    def _data(self, first: Any, messages: Iterator[Any]) -> Iterator[Any]:
        """The data up to CLOSE, beginning with `first`."""
        message = first
        while not isinstance(message, Close):
            match message:
                case Readouts() | ismrmrd.Waveform() | ismrmrd.Image():
                    yield message
                case Query():
                    self._answer(message)
                case Text(text):
                    self._logger.info("client: %s", text)
                case _:
                    raise _out_of_place(message, "data or CLOSE after the header")
            message = next(messages, None)
            if message is None:
                raise self._gone()

    def _gone(self) -> StreamError:
        return StreamError(
            "connection: expected CLOSE (id 4) at the end, got the end of the stream; "
            "the client vanished, and its journal can be replayed"
        )

    def _answer(self, query: Query) -> None:
        answer = _ANSWERS.get(query.question)
        self._sender.response(query.number, answer() if answer else "Unknown query")

    def _hang_up(self) -> None:
        """Close so that what was sent last is still read: receive until the peer closes, for a while."""
        self._receiver.discard()
        try:
            self._connection.shutdown(socket.SHUT_WR)
            self._receiver.join(self._limits.linger_timeout_s)
            self._connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            self._logger.debug("the client closed first")
        self._connection.close()
        self._receiver.join(self._limits.linger_timeout_s)


_ANSWERS: dict[str, Callable[[], str]] = {
    "reconstream::version": lambda: version("reconstream"),
    "gadgetron::version": lambda: f"reconstream {version('reconstream')}",
    "ismrmrd::version": lambda: version("ismrmrd"),
    "recipes": lambda: "\n".join(shipped_recipes()),
    "health": lambda: "ok",
}


def _expected(recipe: Recipe | None, header: Header | None) -> str:
    if recipe is None:
        return "a configuration (id 1 or 2) or a query (id 6) first"
    return "the MRD header (id 3) before any data" if header is None else "data after the one header"


def _out_of_place(message: Any, expected: str) -> StreamError:
    return StreamError(
        f"stream: expected {expected}, got {type(message).__name__}; send messages in MRD's order"
    )
