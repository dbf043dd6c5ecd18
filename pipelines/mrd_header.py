"""The MRD XML header, read leniently from bytes nobody has checked."""

import base64
import dataclasses
import logging
import math
import re
import types
import typing
from enum import Enum
from functools import cache
from typing import Any
from xml.etree import ElementTree

from ismrmrd.xsd import ismrmrdHeader
from xsdata.models.datatype import XmlDate, XmlTime

from recon_core.errors import StreamError

MAX_HEADER_BYTES = 8 * 2**20
"""Larger than any header with embedded protocols seen; keeps parsing below a second."""

_LOGGER = logging.getLogger("reconstream")

# A value of these must be right where it stands: the reconstruction is computed from it. Any other wrong or
# missing value (a patient's weight, say) reads as None and costs nobody the images.
_NEEDED = frozenset(
    {"encodedSpace", "reconSpace", "matrixSize", "fieldOfView_mm", "x", "y", "z", "trajectory"}
    | {"minimum", "maximum", "center", "kspace_encoding_step_1", "kspace_encoding_step_2"}
)
_MAY_BE_ABSENT = frozenset(["trajectory"])  # the oldest files have none: Cartesian
_DECLARATION = re.compile(r"^\s*<\?xml[^>]*\?>")


def header_from_xml(xml: bytes) -> Any:
    """The parsed MRD header (`ismrmrd.xsd.ismrmrdHeader`).

    Trailing NULs are dropped, namespaces and elements unknown to the schema classes are ignored, and missing
    elements read as None, so that files of any age can be used. Raises StreamError when the bytes are too
    many, not UTF-8, carry a document type or entities, are not well-formed, are no MRD header, or have an
    encoding that cannot be understood.
    """
    root = _parsed(_text(xml))
    if _local(root.tag) != "ismrmrdHeader":
        raise StreamError(
            f"MRD header: expected the root element <ismrmrdHeader>, got <{_local(root.tag)[:80]}>; "
            "send the MRD XML header"
        )
    return _record(ismrmrdHeader, root, "")


def _text(xml: bytes) -> str:
    xml = xml.rstrip(b"\0 \t\r\n")
    if not xml:
        raise StreamError("MRD header: expected XML, got nothing; send the MRD XML header")
    if len(xml) > MAX_HEADER_BYTES:
        raise StreamError(
            f"MRD header: expected at most {MAX_HEADER_BYTES} bytes of XML, got {len(xml)}; "
            "send large attachments outside the header"
        )
    try:
        text = xml.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise StreamError(
            f"MRD header: expected UTF-8, got byte 0x{xml[error.start]:02x} at offset {error.start}; "
            "encode the header as UTF-8"
        ) from error
    if "<!DOCTYPE" in text or "<!ENTITY" in text:
        raise StreamError(
            "MRD header: expected no document type, got <!DOCTYPE or <!ENTITY; remove it from the header"
        )
    # Without its declaration the document is UTF-8 to the parser too: it sees the characters checked above.
    return _DECLARATION.sub("", text, count=1)


def _parsed(text: str) -> ElementTree.Element:
    try:
        return ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise StreamError(
            f"MRD header: expected well-formed XML, got: {error}; correct the header"
        ) from error


def _local(tag: str) -> str:
    return tag.rpartition("}")[2]


@dataclasses.dataclass(frozen=True)
class _Field:
    name: str
    type: Any
    is_list: bool
    is_required: bool


@cache
def _fields(cls: type) -> dict[str, _Field]:
    hints = typing.get_type_hints(cls)
    fields = {}
    for field in dataclasses.fields(cls):
        wanted = hints[field.name]
        is_list = typing.get_origin(wanted) is list
        if is_list or isinstance(wanted, types.UnionType):
            wanted = next(t for t in typing.get_args(wanted) if t is not type(None))
        has_default = not (field.default is field.default_factory is dataclasses.MISSING)
        fields[field.name] = _Field(field.name, wanted, is_list, not has_default)
    return fields


def _record(cls: type, element: ElementTree.Element, path: str) -> Any:
    fields = _fields(cls)
    values: dict[str, Any] = {}
    for child in element:
        field = fields.get(_local(child.tag))
        if field is None:
            continue
        value = _value(field, child, f"{path}/{field.name}")
        if field.is_list and value is not None:
            values.setdefault(field.name, []).append(value)
        elif not field.is_list:
            values.setdefault(field.name, value)
    for field in fields.values():
        if field.is_required and field.name not in values:
            if field.name in _NEEDED - _MAY_BE_ABSENT:
                raise StreamError(
                    f"MRD header: expected {path}/{field.name}, got nothing; add it to the header"
                )
            values[field.name] = None
    return cls(**values)


def _value(field: _Field, element: ElementTree.Element, path: str) -> Any:
    if dataclasses.is_dataclass(field.type):
        return _record(typing.cast(type, field.type), element, path)
    text = (element.text or "").strip()
    try:
        return _converted(field.type, text)
    except ValueError as error:
        if field.name in _NEEDED:
            raise StreamError(
                f"MRD header: expected {path} to be {_wanted(field.type)}, got '{text[:80]}'; "
                "correct the header"
            ) from error
        _LOGGER.debug("MRD header: %s: %r ignored, expected %s", path, text[:80], _wanted(field.type))
        return None


def _converted(wanted: Any, text: str) -> Any:
    if wanted is int:
        return _integer(text)
    if wanted is float:
        return _finite(text)
    if wanted is bytes:
        return base64.b64decode(text)
    if wanted in (XmlDate, XmlTime):
        return wanted.from_string(text)
    return wanted(text)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(text)
    return number


def _integer(text: str) -> int:
    """Some converters write whole numbers as 1.000."""
    try:
        return int(text)
    except ValueError:
        number = _finite(text)
        if not number.is_integer():
            raise
        return int(number)


def _wanted(wanted: Any) -> str:
    if issubclass(wanted, Enum):
        return "one of " + ", ".join(str(member.value) for member in wanted)
    return {int: "a whole number", float: "a number"}.get(wanted, f"a {wanted.__name__}")
