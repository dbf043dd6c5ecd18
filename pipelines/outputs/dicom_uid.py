"""Identities of DICOM objects: the same content has the same one, other content another."""

import re
from hashlib import sha256
from uuid import NAMESPACE_URL, uuid5

_NAMESPACE = uuid5(NAMESPACE_URL, "reconstream")
_UID = re.compile(r"(0|[1-9]\d*)(\.(0|[1-9]\d*))+")
_MAX_LENGTH = 64


def uid_of(*parts: bytes | str | int) -> str:
    """A UID that depends on the parts and nothing else: ``2.25.`` and a UUID made of their SHA-256.

    The form is that of DICOM PS3.5, B.2, which needs no registered root.
    """
    digest = sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return f"2.25.{uuid5(_NAMESPACE, digest.hexdigest()).int}"


def valid_uid(text: str | None) -> str | None:
    """The UID, or None for what is none: scanners' headers hold placeholders too."""
    text = (text or "").strip()
    return text if len(text) <= _MAX_LENGTH and _UID.fullmatch(text) else None
