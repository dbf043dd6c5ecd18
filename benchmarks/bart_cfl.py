"""Run BART commands on arrays: for the benchmarks, and for the tests through the `bart` fixture."""

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

N_BART_AXES = 16


class BartResult(NamedTuple):
    """The outputs of a BART command, and its wall time with the files it reads and writes itself."""

    outputs: list[npt.NDArray[np.complex64]]
    wall_s: float


def write_cfl(stem: Path, array: npt.NDArray[np.complex64]) -> None:
    """Write a C-ordered array; its last axis becomes the first of BART."""
    dimensions = [*reversed(array.shape)] + [1] * (N_BART_AXES - array.ndim)
    stem.with_suffix(".hdr").write_text("# Dimensions\n" + " ".join(map(str, dimensions)) + "\n")
    np.ascontiguousarray(array, dtype=np.complex64).tofile(stem.with_suffix(".cfl"))


def read_cfl(stem: Path) -> npt.NDArray[np.complex64]:
    """Read an array in C order, without BART's leading axes of length one."""
    header = stem.with_suffix(".hdr").read_text().splitlines()
    shape = [int(length) for length in header[1].split()][::-1]
    while len(shape) > 1 and shape[0] == 1:
        shape.pop(0)
    return np.fromfile(stem.with_suffix(".cfl"), dtype=np.complex64).reshape(shape)


def run_bart(
    command: str, *inputs: npt.NDArray[np.complex64], n_outputs: int = 1, n_threads: int = 1
) -> BartResult:
    """Run ``bart <command> <inputs> <outputs>`` on files, in memory-backed storage where there is some.

    An input that the command names itself, as in ``-t in2``, is not repeated behind it.
    """
    shared_memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared_memory if shared_memory.is_dir() else None) as folder:
        names_in = [f"in{number}" for number in range(len(inputs))]
        names_out = [f"out{number}" for number in range(n_outputs)]
        for name, array in zip(names_in, inputs, strict=True):
            write_cfl(Path(folder) / name, array)
        words = command.split()
        started = time.perf_counter()
        subprocess.run(
            ["bart", *words, *(name for name in names_in if name not in words), *names_out],
            cwd=folder,
            env=os.environ | {"OMP_NUM_THREADS": str(n_threads)},
            check=True,
            capture_output=True,
        )
        wall_s = time.perf_counter() - started
        return BartResult([read_cfl(Path(folder) / name) for name in names_out], wall_s)
