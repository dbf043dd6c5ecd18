"""A Reconstream server in a process of its own, and what it costs."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple


class ServerProcess(NamedTuple):
    """A running server."""

    port: int
    process_id: int
    journal: Path

    def resident_mb(self) -> float:
        """Memory in use now."""
        return self._status("VmRSS")

    def peak_mb(self) -> float:
        """The most memory that was in use."""
        return self._status("VmHWM")

    def forget_journals(self) -> None:
        """Remove the journals, so that a benchmark does not fill the disk."""
        for file in self.journal.iterdir():
            file.unlink()

    def _status(self, name: str) -> float:
        for line in Path(f"/proc/{self.process_id}/status").read_text().splitlines():
            if line.startswith(name):
                return int(line.split()[1]) / 1024
        raise RuntimeError(f"server process: expected {name} in its status")


@contextmanager
def running_server(*setup: str) -> Iterator[ServerProcess]:
    """A server with its journal on; `setup` is Python that runs in it first (to add a gadget, say)."""
    program = "\n".join(
        [
            "from pipelines.process import prepare_process",
            "prepare_process()",
            *setup,
            "import sys",
            "from pathlib import Path",
            "from pipelines.server import Server",
            "server = Server(port=0, journal=Path(sys.argv[1]))",
            "print(server.address[1], flush=True)",
            "server.serve_forever()",
        ]
    )
    with tempfile.TemporaryDirectory() as journal:
        process = subprocess.Popen([sys.executable, "-c", program, journal], stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            yield ServerProcess(int(process.stdout.readline()), process.pid, Path(journal))
        finally:
            process.terminate()
            process.communicate()
