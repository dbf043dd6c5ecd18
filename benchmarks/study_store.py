"""What remembering studies costs: a session with a folder beside one without, and lookups among 10,000 items.

python -m benchmarks.study_store

The sessions take their noise from an earlier one, and leave an image of 256 x 256 as a guide. Both servers
run in processes of their own and are asked in turns. The folder is in the current directory, so as to measure
its disk; it is filled without waiting for that, as is not to be measured.
"""

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path
from time import perf_counter
from typing import Any
from unittest.mock import patch

import torch

from benchmarks.machine import write_results
from benchmarks.server_process import running_server
from benchmarks.wire_scan import WireScan, exchange, wire_scan
from gadgets.gadget import Context
from gadgets.guides import guides
from gadgets.study import Item, ScanIdentity
from pipelines.mrd_header import header_from_xml
from pipelines.studies.folder import StudyFolder
from recon_core.simulate import simulate_acquisition

RECIPE = "cartesian_fft"
N_SESSIONS, N_ITEMS, N_OF_STUDY, N_LOOKUPS = 60, 10_000, 30, 200
N_COILS = 8


def main() -> None:
    with tempfile.TemporaryDirectory(dir=".") as folder:
        figures = {
            "session_ms": session_ms(Path(folder) / "sessions"),
            "lookup_ms": lookup_ms(Path(folder) / "many"),
        }
    write_results("study_store", figures)


def session_ms(folder: Path) -> dict[str, float]:
    """From the first byte to CLOSE, medians; and of the differences between one session and the next."""
    kspace = simulate_acquisition((256, 256), N_COILS).kspace[:, :, 0].numpy()
    noise, scan = wire_scan(kspace[:0]), wire_scan(kspace, noise=False)
    took: dict[str, list[float]] = {"without": [], "with": []}
    with running_server() as without, running_server(studies=str(folder)) as remembering:
        servers = {"without": without, "with": remembering}
        for server in servers.values():
            exchange(server.port, of_study(noise, "noise"), "default_measurement_dependencies")
        for number in range(N_SESSIONS + 3):  # the first ones warm both up
            for name, server in servers.items():
                _, received = exchange(server.port, of_study(scan, f"scan {number}", "noise"), RECIPE)
                took[name].append(1e3 * received[-1][0])
    took["the store's"] = [b - a for a, b in zip(took["without"], took["with"], strict=True)]
    return {name: round(statistics.median(times[3:]), 2) for name, times in took.items()}


def lookup_ms(folder: Path) -> dict[str, Any]:
    """With as many items in the folder; the last study has as many guides as a scan of slices leaves."""
    noise = {"covariance": torch.eye(N_COILS, dtype=torch.complex64)}
    with patch("os.fsync"), StudyFolder(folder) as studies:
        header = header_from_xml(of_study(wire_scan(torch.ones(1, 1, 2, 8).numpy()), "scan").header_xml)
        scan = ScanIdentity.of(header)
        guide = a_guide(scan)
        for number in range(N_ITEMS - N_OF_STUDY):
            whose = ScanIdentity(measurement=f"noise {number}", study=f"study {number // N_OF_STUDY}")
            studies.keep(Item(kind="noise", scan=whose, name=whose.measurement, tensors=noise))
            if number % 100 == 0:
                studies.flush()
        for _ in range(N_OF_STUDY):
            studies.keep(guide)
    begin = perf_counter()
    with StudyFolder(folder) as studies:
        figures: dict[str, Any] = {"items": len(studies.rows()), "opening": 1e3 * (perf_counter() - begin)}
        context = Context(header=header, study=studies)

        def by_name(number: int) -> None:
            (found,) = studies.find("noise", ScanIdentity(), f"noise {number * 41}")
            assert found.load()

        def of_the_study(_: int) -> None:
            assert len(guides(context)) == N_OF_STUDY

        def loaded(_: int) -> None:
            assert guides(context)[0].load() is not None

        for name, lookup in (("noise", by_name), ("guides", of_the_study), ("guide, loaded", loaded)):
            times = []
            for number in range(N_LOOKUPS):
                begin = perf_counter()
                lookup(number)
                times.append(1e3 * (perf_counter() - begin))
            figures[name] = {"median": statistics.median(times), "longest": max(times)}
    return rounded(figures)


def a_guide(scan: ScanIdentity) -> Item:
    geometry = {"matrix": [256, 256, 1], "fov_mm": [256.0, 256.0, 5.0]}
    about = {"geometry": geometry, "contrast": {"protocol": "t1_se"}, "slice": 0, "acceleration": 1.0}
    other = replace(scan, measurement="earlier")
    return Item(kind="guide", scan=other, tensors={"image": torch.rand(1, 256, 256)}, about=about)


def of_study(scan: WireScan, measurement: str, noise: str = "") -> WireScan:
    """The scan with these identifiers in its header."""
    dependency = (
        "<measurementDependency><dependencyType>Noise</dependencyType>"
        f"<measurementID>{noise}</measurementID></measurementDependency>"
    )
    information = (
        "<studyInformation><studyInstanceUID>1.2.3</studyInstanceUID></studyInformation>"
        f"<measurementInformation><measurementID>{measurement}</measurementID>"
        f"{dependency if noise else ''}</measurementInformation><acquisitionSystemInformation>"
    )
    header_xml = scan.header_xml.replace(b"<acquisitionSystemInformation>", information.encode(), 1)
    return replace(scan, header_xml=header_xml)


def rounded(figures: dict[str, Any]) -> dict[str, Any]:
    return {k: rounded(v) if isinstance(v, dict) else round(v, 2) for k, v in figures.items()}


if __name__ == "__main__":
    main()
