"""What one scan leaves for the next scans of its study."""

import threading
from collections import OrderedDict
from typing import Any


class StudyStore:
    """A bounded, thread-safe memory of results shared between scans, the oldest forgotten first.

    Keys are tuples such as ``("noise_covariance", measurement_id)``. One server owns one store.
    """

    def __init__(self, n_kept: int = 256) -> None:
        self._n_kept = n_kept
        self._results: OrderedDict[tuple[str, ...], Any] = OrderedDict()
        self._lock = threading.Lock()

    def put(self, key: tuple[str, ...], result: Any) -> None:
        with self._lock:
            self._results[key] = result
            self._results.move_to_end(key)
            while len(self._results) > self._n_kept:
                self._results.popitem(last=False)

    def get(self, key: tuple[str, ...]) -> Any | None:
        with self._lock:
            return self._results.get(key)
