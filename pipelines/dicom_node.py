"""DICOM files to an archive, by C-STORE."""

import logging
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from time import monotonic
from typing import Any, Self

import msgspec

from recon_core.errors import InputError, SessionError

CALLING_TITLE = "RECONSTREAM"
TIMEOUT_S = 30.0
_MAX_TITLE = 16
_LOGGER = logging.getLogger("reconstream")


class Node(msgspec.Struct, frozen=True):
    """A DICOM application entity that takes images."""

    title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """From ``TITLE@HOST:PORT``. Raises InputError."""
        title, _, address = text.rpartition("@")
        host, _, port = address.rpartition(":")
        if not (_is_title(title) and host and port.isdecimal() and 0 < int(port) < 1 << 16):
            raise InputError(
                f"DICOM node '{text}': expected TITLE@HOST:PORT with a title of at most {_MAX_TITLE} "
                "characters, such as ORTHANC@127.0.0.1:4242; correct it"
            )
        return cls(title, host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"{self.title}@{self.host}:{self.port}"


def _is_title(text: str) -> bool:
    return text.isascii() and text.isprintable() and "\\" not in text and 0 < len(text.strip()) <= _MAX_TITLE


def dicom_files(paths: Sequence[Path]) -> list[Path]:
    """The files, and of folders all that end in ``.dcm``. Raises InputError for what is not there."""
    files: list[Path] = []
    for path in paths:
        found = sorted(path.rglob("*.dcm")) if path.is_dir() else [path]
        if not found or not path.exists():
            raise InputError(f"{path}: expected a DICOM file or a folder of them, got none; check the path")
        files += found
    return list(dict.fromkeys(files))


def store(
    files: Sequence[Path], node: Node, *, calling_title: str = CALLING_TITLE, timeout_s: float = TIMEOUT_S
) -> int:
    """Send the files to the node in one association; how many it keeps. It may already have had them.

    One that is refused does not keep the others from being sent. Raises InputError for a file that is not
    DICOM and a title that is none, SessionError where the node cannot be reached, refuses us or a file, or
    falls silent for `timeout_s`, saying how many it has.
    """
    if find_spec("pynetdicom") is None:
        raise InputError("DICOM: expected pynetdicom, got none; run `pip install reconstream[dicom]`")
    if not _is_title(calling_title):
        raise InputError(
            f"--calling-title '{calling_title}': expected 1 to {_MAX_TITLE} ASCII characters; correct it"
        )
    n_stored, refusals = 0, []
    with _association(_contexts(files), node, calling_title, timeout_s) as association:
        for path in files:
            began = monotonic()
            answer = _answer(association, path)
            if answer is None:
                raise SessionError(
                    f"DICOM node {node}: expected an answer to {path}, got {_silence(began, timeout_s)}; "
                    f"it has {n_stored} of {len(files)}; its log may say why, then send them again"
                )
            if answer:
                refusals.append(f"{path}: {answer}")
            else:
                n_stored += 1
    if refusals:
        raise SessionError(
            f"DICOM node {node}: expected it to keep {len(files)} files, but it refused {len(refusals)}, "
            f"first {refusals[0]}; its log says why"
        )
    return n_stored


def _contexts(files: Sequence[Path]) -> dict[str, set[str]]:
    """The transfer syntaxes of each kind of object."""
    from pydicom import dcmread
    from pydicom.errors import InvalidDicomError

    contexts: dict[str, set[str]] = {}
    for path in files:
        try:
            ds = dcmread(path, stop_before_pixels=True, specific_tags=["SOPClassUID"])
            contexts.setdefault(ds.SOPClassUID, set()).add(ds.file_meta.TransferSyntaxUID)
        except (InvalidDicomError, AttributeError) as error:
            raise InputError(f"{path}: expected a DICOM file, got: {error}; leave it out") from error
    return contexts


@contextmanager
def _association(
    contexts: dict[str, set[str]], node: Node, calling_title: str, timeout_s: float
) -> Iterator[Any]:
    from pynetdicom import AE, evt

    pynetdicom_logger = logging.getLogger("pynetdicom")
    if not pynetdicom_logger.isEnabledFor(logging.DEBUG):
        pynetdicom_logger.setLevel(logging.CRITICAL)  # what it reports, our errors say
    entity = AE(calling_title)
    entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = timeout_s
    entity.connection_timeout = timeout_s
    for sop_class, syntaxes in contexts.items():
        entity.add_requested_context(sop_class, sorted(syntaxes))
    began, connections = monotonic(), list[Any]()
    try:
        association = entity.associate(
            node.host, node.port, ae_title=node.title, evt_handlers=[(evt.EVT_CONN_OPEN, connections.append)]
        )
    except OSError as error:  # the name is not known
        raise _unreachable(node, error) from error
    if not association.is_established:
        if not connections:
            _raise_why_unreachable(node, timeout_s)
        got = _silence(began, timeout_s)
        raise SessionError(f"DICOM node {node}: expected an association, {_why_not(association, got)}")
    try:
        yield association
    finally:
        if association.is_established:
            association.release()


def _silence(began: float, timeout_s: float) -> str:
    return f"none within {timeout_s:g} s" if monotonic() - began >= timeout_s else "the connection closed"


def _raise_why_unreachable(node: Node, timeout_s: float) -> None:
    """Connect once more: pynetdicom keeps the reason to itself. Returns if it goes well this time."""
    try:
        socket.create_connection((node.host, node.port), timeout_s).close()
    except OSError as error:
        raise _unreachable(node, error) from error


def _unreachable(node: Node, error: OSError) -> SessionError:
    return SessionError(
        f"DICOM node {node}: expected a connection, got: {error.strerror or error}; "
        "check host and port, and that the node runs"
    )


def _why_not(association: Any, silence: str) -> str:
    if association.is_rejected:
        answer = association.acceptor.primitive
        return (
            f"got {answer.result_str}: {answer.reason_str}; "
            "let the node know our title and address, and check its own title"
        )
    if association.rejected_contexts:
        return "got one without MR images; let the node take them"
    return f"got {silence}; check that it is a DICOM node, and its log"


def _answer(association: Any, path: Path) -> str | None:
    """Why the node does not keep the file, nothing where it does; None where it does not answer."""
    from pydicom import dcmread
    from pynetdicom.status import STORAGE_SERVICE_CLASS_STATUS, code_to_category

    try:
        answer = association.send_c_store(dcmread(path))
    except ValueError as error:  # objects of its kind were not accepted
        return str(error)
    except RuntimeError:  # the association has ended
        return None
    if "Status" not in answer:
        return None
    status = int(answer.Status)
    category = code_to_category(status)
    if category in {"Success", "Warning"}:
        if category == "Warning":
            _LOGGER.warning("%s: the node keeps it changed (status 0x%04X)", path, status)
        return ""
    meaning = STORAGE_SERVICE_CLASS_STATUS.get(status, (category, ""))[1]
    return f"status 0x{status:04X} {answer.get('ErrorComment', '') or meaning}".strip()
