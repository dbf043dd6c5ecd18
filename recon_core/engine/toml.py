"""Records as TOML, as `tomllib` reads it; the standard library only reads."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any


def to_toml(record: Mapping[str, Any], table: str = "") -> str:
    """Strings, numbers, booleans, lists of them, nested mappings, and lists of mappings; None is left out."""
    return "\n".join(_lines(record, table)).lstrip("\n") + "\n"


def _lines(record: Mapping[str, Any], table: str) -> Iterator[str]:
    tables = {key: value for key, value in record.items() if _is_table(value)}
    for key, value in record.items():
        if key not in tables and value is not None:
            yield f"{_key(key)} = {_value(value)}"
    for key, value in tables.items():
        name = f"{table}.{_key(key)}" if table else _key(key)
        for row in [value] if isinstance(value, Mapping) else value:
            yield from ("", f"[{name}]" if row is value else f"[[{name}]]")
            yield from _lines(row, name)


def _is_table(value: Any) -> bool:
    is_list = isinstance(value, list | tuple) and len(value) > 0
    return isinstance(value, Mapping) or (is_list and all(isinstance(v, Mapping) for v in value))


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _value(key)


def _value(value: Any) -> str:
    """JSON's strings, numbers and arrays are TOML's, but for one control character that JSON lets stand."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
