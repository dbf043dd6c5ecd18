"""What one scan leaves for later scans of its study: items, whose they are, and a store of them in memory."""

import hashlib
import re
import threading
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from time import time
from typing import Any, Literal, Protocol, Self

import torch

Kind = Literal["noise", "calibration", "coil_maps", "grappa_weights", "spirit_kernel", "guide"]

MUST_AGREE: dict[Kind, tuple[str, ...]] = {
    "guide": ("frame_of_reference",),
    "calibration": ("frame_of_reference", "coil_set"),
}
"""Fields of the scan's identity that must agree beside the study, where it needs more than that."""

_DEVICE_PATIENT_STUDY = re.compile(r"(\d+_\d+_\d+)_\d+")
"""What Siemens' converters make measurement identifiers of, before the measurement's own number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanIdentity:
    """Which scan it is, as far as its header says; what that leaves out is empty, and agrees with nothing."""

    measurement: str = ""
    """A scan of a known study that has no identifier is told by all that its header says."""
    study: str = ""
    """The study and its patient: of another patient, the same number is another study."""
    frame_of_reference: str = ""
    """Within it positions can be compared. Scans of a study whose headers have none agree in that."""
    coil_set: str = ""
    """The names of the coils in the order of the channels."""

    @classmethod
    def of(cls, header: Any) -> Self:
        """The identity in a parsed MRD header (`ismrmrd.xsd.ismrmrdHeader`)."""
        measurement, study = header.measurementInformation, _study(header)
        identifier = (measurement and measurement.measurementID) or ""
        if study and not identifier:
            identifier = hashlib.blake2b(repr(header).encode(), digest_size=16).hexdigest()
        return cls(
            measurement=identifier,
            study=study,
            frame_of_reference=(measurement and measurement.frameOfReferenceUID) or "",
            coil_set="\n".join(coil_names(header)),
        )

    def mapped(self, token: Callable[[str, str], str]) -> Self:
        """With ``token(field, value)`` in the place of every value."""
        values = ((name, getattr(self, name)) for name in self.__dataclass_fields__)
        return replace(self, **{name: token(name, value) for name, value in values if value})


def coil_names(header: Any) -> list[str]:
    """The names of the coils in the order of the channels; none where the header does not name all."""
    system = header.acquisitionSystemInformation
    names = [label.coilName or "" for label in system.coilLabel] if system else []
    return names if all(names) else []


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Item:
    """Something of a scan that later scans can use."""

    kind: Kind
    scan: ScanIdentity
    tensors: Mapping[str, torch.Tensor]
    about: Mapping[str, Any] = field(default_factory=dict)
    """Numbers and words beside the tensors, as JSON has them; nothing that names a person."""
    name: str = ""
    """What it is asked for by. A new item takes the place of one of the same kind, study and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """An item that was found."""

    about: Mapping[str, Any]
    measurement: str
    """The same for all items of one scan; not the scanner's identifier, where that may not be stored."""
    kept_at: float
    """Seconds since 1970."""
    load: Callable[[], Mapping[str, torch.Tensor] | None]
    """Its tensors; None where they have been forgotten since."""


class Studies(Protocol):
    """Where scans leave items and find those of earlier ones; it never raises, nor keeps a scan waiting."""

    def keep(self, item: Item) -> None:
        """Leave an item to later scans."""

    def find(self, kind: Kind, scan: ScanIdentity, name: str = "") -> Sequence[Kept]:
        """The items that `scan` may use, newest first.

        With a name, those of that name, unless they are known to be of another study. Without, those of the
        same study and of whatever else `MUST_AGREE` asks for, the scan's own excepted.
        """


class StudyStore:
    """Studies in memory, bounded, the oldest items forgotten first; what a process without a folder uses."""

    def __init__(self, max_bytes: int = 1 << 30) -> None:
        self._items: deque[tuple[float, Item]] = deque()
        self._max_bytes = max_bytes
        self._lock = threading.Lock()

    def keep(self, item: Item) -> None:
        with self._lock:
            others = (kept for kept in self._items if not item.name or _place(kept[1]) != _place(item))
            self._items = deque([*others, (time(), item)])
            n_bytes = sum(n_bytes_of(kept) for _, kept in self._items)
            while n_bytes > self._max_bytes:
                n_bytes -= n_bytes_of(self._items.popleft()[1])

    def find(self, kind: Kind, scan: ScanIdentity, name: str = "") -> Sequence[Kept]:
        with self._lock:
            items = list(self._items)
        return found_among(items, kind, scan, name)


def n_bytes_of(item: Item) -> int:
    """What the tensors of an item take."""
    return sum(tensor.nbytes for tensor in item.tensors.values())


def found_among(items: Iterable[tuple[float, Item]], kind: Kind, scan: ScanIdentity, name: str) -> list[Kept]:
    """Those of `items`, each with its time and the oldest first, that `Studies.find` is to give."""
    found = [(at, item) for at, item in items if item.kind == kind and _is_for(item, scan, name)]
    return [_kept(at, item) for at, item in reversed(found)]


def _place(item: Item) -> tuple[str, str, str]:
    return item.kind, item.scan.study, item.name


def _is_for(item: Item, scan: ScanIdentity, name: str) -> bool:
    if name:
        return item.name == name and (item.scan.study == scan.study or "" in (item.scan.study, scan.study))
    agree = ("study", *MUST_AGREE.get(item.kind, ()))
    is_own = bool(scan.measurement) and item.scan.measurement == scan.measurement
    return bool(scan.study) and not is_own and all(getattr(item.scan, a) == getattr(scan, a) for a in agree)


def _kept(at: float, item: Item) -> Kept:
    return Kept(about=item.about, measurement=item.scan.measurement, kept_at=at, load=lambda: item.tensors)


def _study(header: Any) -> str:
    study, subject, measurement = (
        header.studyInformation,
        header.subjectInformation,
        header.measurementInformation,
    )
    patient = (subject and subject.patientID) or ""
    if study and study.studyInstanceUID:
        return f"{patient}\n{study.studyInstanceUID}"
    if study and study.studyID and patient:
        return f"{patient}\n{study.studyID}"
    parts = _DEVICE_PATIENT_STUDY.fullmatch((measurement and measurement.measurementID) or "")
    return parts[1] if parts else ""
