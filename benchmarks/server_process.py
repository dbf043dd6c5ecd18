"""A Reconstream server in a process of its own, and what it costs."""

import os
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

    def cpu_s(self) -> float:
        """Processor time used so far, of all threads."""
        fields = Path(f"/proc/{self.process_id}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def back_page_cache(self, n_bytes: int) -> None:
        """Have the system hold the memory that a journal of this size will need.

        A virtual machine gives memory that is free for seconds back to its host, and getting it again takes
        longer (1.8 s a gigabyte, where this was seen) than anything that is to be measured.
        """
        file, piece = self.journal / "backing", bytes(1 << 22)
        with file.open("wb", buffering=0) as backing:
            for _ in range(n_bytes // len(piece) + 1):
                backing.write(piece)
        file.unlink()

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
def running_server(*setup: str, studies: str = "off") -> Iterator[ServerProcess]:
    """A server with its journal on; `setup` is Python that runs in it first (to add a gadget, say)."""
    program = "\n".join(
        [
            "from pipelines.process import prepare_process",
            "prepare_process()",
            *setup,
            "import sys",
            "from pathlib import Path",
            "from pipelines.server import Server",
            "from pipelines.studies.chosen import chosen_studies",
            "with chosen_studies(sys.argv[2]) as kept:",
            "    server = Server(port=0, journal=Path(sys.argv[1]), studies=kept)",
            "    print(server.address[1], flush=True)",
            "    server.serve_forever()",
        ]
    )
    with tempfile.TemporaryDirectory() as journal:
        process = subprocess.Popen([sys.executable, "-c", program, journal, studies], stdout=subprocess.PIPE)
        assert process.stdout is not None
        try:
            yield ServerProcess(int(process.stdout.readline()), process.pid, Path(journal))
        finally:
            process.terminate()
            process.communicate()
