"""Identifiers as they are stored: hashed with a secret of the folder's own."""

import hashlib
import secrets
from pathlib import Path

from pipelines.studies.files import write_whole

_N_BYTES = 32


class Tokens:
    """``tokens(field, value)``: 32 hexadecimal digits, the same for the same field, value and folder only.

    The secret lies beside the index: who can read the whole folder can test whether an identifier that he
    knows is in it; who has the index alone cannot. To be made while nobody else can.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "secret"
        if not path.exists() or path.stat().st_size != _N_BYTES:
            write_whole(path, secrets.token_bytes(_N_BYTES))
        self._secret = path.read_bytes()

    def __call__(self, field: str, value: str) -> str:
        message = f"{field}\0{value}".encode()
        return hashlib.blake2b(message, key=self._secret, digest_size=16).hexdigest()
