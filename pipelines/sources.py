"""Scans in files: ISMRMRD HDF5, MRD streams and journals. What a file is, its content says, not its name."""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import ismrmrd

from gadgets.records import Readouts
from pipelines import mrd_hdf5
from pipelines.chunks import chunks_of
from pipelines.messages import Header, MessageId
from pipelines.stream import MessageReader
from recon_core.errors import InputError, StreamError

Item: TypeAlias = Readouts | ismrmrd.Waveform | ismrmrd.Image

_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan that can be read, and read again."""

    header_xml: bytes
    """The MRD header; empty where images came without one."""
    items: Callable[[], Iterator[Item]]
    """Reads the file from its start, in order of acquisition. Raises StreamError where a stream was cut."""


def open_scan(path: Path | str, dataset: str | None = None) -> Scan:
    """The scan in a file; `dataset` names the group of an HDF5 file that holds several.

    Raises InputError for a file that is missing, empty or nothing of the kind, StreamError for a stream that
    ends before its header.
    """
    path = Path(path)
    if is_hdf5(path):
        with mrd_hdf5.opened(path) as file:
            group = mrd_hdf5.dataset_group(file, dataset)
            header_xml = mrd_hdf5.header_xml(group)
            if not header_xml and mrd_hdf5.is_raw(group):
                raise InputError(
                    f"{path}: expected the MRD header in {group.name}/xml, got nothing; "
                    "raw data cannot be understood without it"
                )
            return Scan(header_xml, partial(mrd_hdf5.items, path, group.name.lstrip("/")))
    return Scan(_stream_header(path), partial(_stream_items, path))


def is_hdf5(path: Path) -> bool:
    """Whether the file is HDF5; if not, it begins as an MRD stream does.

    Raises InputError when the file cannot be read or is neither.
    """
    try:
        with path.open("rb") as file:
            start = file.read(len(_HDF5_SIGNATURE))
    except OSError as error:
        raise InputError(
            f"{path}: expected an ISMRMRD file, got: {error.strerror}; check the path"
        ) from error
    if start == _HDF5_SIGNATURE:
        return True
    if len(start) < 2 or struct.unpack("<H", start[:2])[0] not in set(MessageId):
        what = f"one that begins with {start!r}" if start else "an empty one"
        raise InputError(
            f"{path}: expected an ISMRMRD HDF5 file, an MRD stream or a journal, got {what}; "
            "'reconstream import' converts BART, fastMRI, numpy, MATLAB and Siemens files"
        )
    return False


def _messages(path: Path) -> Iterator[Any]:
    with path.open("rb", buffering=0) as file:
        try:
            yield from MessageReader(chunks_of(file.readinto))
        except StreamError as error:
            raise StreamError(f"{path}: {error}") from error


def _stream_header(path: Path) -> bytes:
    for message in _messages(path):
        if isinstance(message, Header):
            return message.xml
        if isinstance(message, ismrmrd.Image):
            return b""
        if isinstance(message, Readouts):
            break
    raise StreamError(f"{path}: expected an MRD header before the data, got none; the stream is not a scan")


def _stream_items(path: Path) -> Iterator[Item]:
    has_header = False
    for message in _messages(path):
        if isinstance(message, Item):
            yield message
        elif isinstance(message, Header):
            if has_header:
                raise StreamError(f"{path}: expected one MRD header, got two; a stream holds one scan")
            has_header = True
