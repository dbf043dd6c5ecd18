"""What a gadget is, and what it is given beside the stream."""

import ast
import inspect
import logging
import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from types import UnionType
from typing import Any, ClassVar, Protocol

import msgspec
import torch

from gadgets.records import ImageSeries
from gadgets.study import ScanIdentity, Studies, StudyStore
from recon_core.engine.engine import Engine
from recon_core.engine.waiting import Priority

_LOGGER = logging.getLogger("reconstream")


class ImageArchive(Protocol):
    """Where the images of one scan are kept beside being sent; whoever runs the server chooses it."""

    def keep(self, series: ImageSeries) -> None:
        """Keep the images. Raises ReconstreamError, OSError or ValueError where that cannot be done."""

    def close(self) -> None:
        """No more will come."""


@dataclass(frozen=True, kw_only=True)
class Context:
    """What a scan gives its gadgets beside the stream."""

    header: Any
    """The parsed MRD header (`ismrmrd.xsd.ismrmrdHeader`)."""
    study: Studies = field(default_factory=StudyStore)
    """What earlier scans left (noise covariances, calibrations, images), and where this one leaves its."""
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    """Where the arrays are reconstructed."""
    engine: Engine | None = None
    """Runs the networks of every scan of the process; None where there are none to be had."""
    priority: Priority = Priority.INLINE
    """Of this scan's slices at the engine."""
    archive: ImageArchive | None = None
    """Keeps images as DICOM; None where the server has no place for them."""
    logger: logging.Logger | logging.LoggerAdapter[logging.Logger] = _LOGGER

    @cached_property
    def scan(self) -> ScanIdentity:
        """Which scan this is, to the study."""
        return ScanIdentity.of(self.header)


class Gadget(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One step of a reconstruction: takes items of the types it accepts, gives items of the types it emits.

    A gadget is a frozen record of its parameters. State lives in the generator that `__call__` returns, so
    one recipe serves many scans at once. What it does not accept never reaches it: the runner passes that
    on, in order.
    """

    accepts: ClassVar[type | UnionType]
    """The record types taken from the stream."""
    emits: ClassVar[type | UnionType]
    """The record types put back."""

    @property
    def models(self) -> tuple[str, ...]:
        """Names of the model packages that it asks the engine for."""
        return ()

    def __call__(self, items: Iterable[Any], context: Context) -> Iterator[Any]:
        """Consume `items` to their end, yielding results as soon as they are known."""
        raise NotImplementedError


@dataclass(frozen=True)
class Parameter:
    """One parameter of a gadget, as its author documented it."""

    name: str
    type: str
    default: Any
    about: str


def parameters(gadget: type[Gadget]) -> list[Parameter]:
    """The parameters of a gadget class with the text under each field."""
    documented: dict[str, str] = {}
    annotated: dict[str, str] = {}
    for cls in reversed(gadget.__mro__):
        if issubclass(cls, Gadget) and cls is not Gadget:
            body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0]
            assert isinstance(body, ast.ClassDef)
            for node, following in zip(body.body, [*body.body[1:], None], strict=True):
                if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                    annotated[node.target.id] = ast.unparse(node.annotation)
                    if isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant):
                        documented[node.target.id] = inspect.cleandoc(str(following.value.value))
    return [
        Parameter(f.name, annotated[f.name], None if f.required else f.default, documented.get(f.name, ""))
        for f in msgspec.structs.fields(gadget)
    ]
