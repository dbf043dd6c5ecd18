"""Settings of the C libraries below, for a process that reconstructs."""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_MAX, _M_ARENA_MAX = -1, -4, -8
"""Numbers of glibc's mallopt."""


def prepare_process() -> None:
    """Let waiting threads soon sleep, and keep freed memory for the next scan. Call before torch is imported.

    Threads that spin while they wait for one another come to a standstill where other sessions or processes
    want the cores too; threads that sleep at once lose more time in waking than small products take. And
    glibc would hand every large array back to the system when it is freed, only to have its pages zeroed
    anew for the next: a third of the time of a Fourier reconstruction. Its threshold for "large" cannot be
    above 32 MB, less than a slice of 32 channels takes; so nothing is large.
    """
    # Without the policy, threads of any thread but the main one would sleep at once, whatever the count.
    os.environ.setdefault("OMP_WAIT_POLICY", "ACTIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")  # tens of microseconds; by default it is milliseconds
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_ARENA_MAX, 1)
        libc.mallopt(_M_MMAP_MAX, 0)
        libc.mallopt(_M_TRIM_THRESHOLD, 512 << 20)
