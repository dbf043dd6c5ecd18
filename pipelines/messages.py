"""The messages of the MRD stream that are no data: what precedes, accompanies and ends it."""

from dataclasses import dataclass
from enum import IntEnum


class MessageId(IntEnum):
    """The message ids of MRD v1 and of Gadgetron's extensions to it."""

    CONFIG_FILE = 1
    CONFIG_TEXT = 2
    HEADER = 3
    CLOSE = 4
    TEXT = 5
    QUERY = 6
    RESPONSE = 7
    ERROR = 8
    ACQUISITION = 1008
    DEPENDENCY_QUERY = 1019
    IMAGE = 1022
    RECON_DATA = 1023
    IMAGE_ARRAY = 1024
    WAVEFORM = 1026
    BUCKET = 1050


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A recipe by name."""

    name: str


@dataclass(frozen=True, slots=True)
class ConfigText:
    """A recipe in full: Gadgetron XML or TOML."""

    text: str


@dataclass(frozen=True, slots=True)
class Header:
    """The MRD header, still as XML."""

    xml: bytes


@dataclass(frozen=True, slots=True)
class Text:
    """A message in words."""

    text: str


@dataclass(frozen=True, slots=True)
class Query:
    """A question about the server."""

    number: int
    question: str


@dataclass(frozen=True, slots=True)
class Response:
    """The answer to the query of the same number."""

    number: int
    answer: str


@dataclass(frozen=True, slots=True)
class Close:
    """Nothing more will be sent."""
