"""What a benchmark ran on, and where its figures go."""

import json
import os
import platform
import statistics
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import torch

RESULTS = Path(__file__).parent / "results"


def machine() -> dict[str, Any]:
    """Cores, versions, and the float32 matrix-product and memory-copy rates at this moment."""
    matrix = torch.rand(2048, 2048)
    source = np.ones(1 << 25)
    target = np.empty_like(source)
    matmul_s = min(_seconds(lambda: matrix @ matrix) for _ in range(5))
    copy_s = min(_seconds(lambda: np.copyto(target, source)) for _ in range(5))
    return {
        "date": f"{datetime.now(UTC):%Y-%m-%d}",
        "command": " ".join(["python -m", _module(), *sys.argv[1:]]),
        "cores": os.cpu_count(),
        "processor": _processor(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "matmul_gflops": round(2 * 2048**3 / matmul_s / 1e9, 1),
        "copy_gb_per_s": round(2 * source.nbytes / copy_s / 1e9, 1),
    }


def write_results(name: str, figures: Any) -> None:
    """Write `results/NAME.json` with the machine beside the figures, and print it."""
    RESULTS.mkdir(exist_ok=True)
    text = json.dumps({"machine": machine(), "figures": figures}, indent=1)
    (RESULTS / f"{name}.json").write_text(text + "\n")
    print(text)


def median_ms(
    work: Callable[[], object], n_repeats: int = 7, clock: Callable[[], float] = perf_counter
) -> float:
    """Milliseconds that `work` takes by the clock, the median of its repeats."""
    return 1e3 * statistics.median(_seconds(work, clock) for _ in range(n_repeats))


def _seconds(work: Any, clock: Callable[[], float] = perf_counter) -> float:
    begin = clock()
    work()
    return clock() - begin


def _module() -> str:
    return ".".join(Path(sys.argv[0]).resolve().relative_to(RESULTS.parents[1]).with_suffix("").parts)


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor()
