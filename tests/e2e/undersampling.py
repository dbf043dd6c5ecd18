"""Fully sampled scans as if fewer lines had been acquired: to be streamed, and to be given to peers."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gadgets.records import FLAG_BITS, Readouts
from pipelines.sources import Scan
from recon_core.masks import equispaced_lines, random_lines
from tests.e2e.case_files import CalibrationMode, UndersampledCase
from tests.e2e.peers import Samples

SEED = 3

Which = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Undersampling:
    """Which lines of a scan are kept: those of the pattern, and central ones to calibrate from."""

    pattern: Which
    calibration: Which
    acceleration: int
    calibration_mode: CalibrationMode
    """As the header has it; neither header nor flags tell of an unannounced one."""

    @classmethod
    def of(cls, case: UndersampledCase, n_lines: int, calibration_mode: CalibrationMode) -> "Undersampling":
        calibration = np.abs(np.arange(n_lines) + 0.5 - n_lines // 2) < case.calibration_lines / 2
        shape = n_lines, 1
        if case.pattern == "equispaced":
            pattern = equispaced_lines(shape, case.acceleration, n_calibration=0, offset=0)
        else:
            pattern = random_lines(shape, case.acceleration, n_calibration=case.calibration_lines, seed=SEED)
        return cls(pattern[:, 0].numpy(), calibration, case.acceleration, calibration_mode)

    def samples(self, full: Samples) -> Samples:
        """For a peer. Lines that only calibrate are not in the image."""
        lines = self.pattern if self.calibration_mode == "separate" else self.pattern | self.calibration
        return full._replace(
            kspace=np.where(lines[:, None], full.kspace, 0),
            calibration=np.where(self.calibration[:, None], full.kspace, 0),
        )

    def scan(self, full: Scan) -> Scan:
        """For us."""
        header_xml = full.header_xml
        if self.calibration_mode != "unannounced":
            assert b"parallelImaging" not in header_xml
            header_xml = header_xml.replace(b"</encoding>", self._parallel_imaging() + b"</encoding>")

        def items() -> Iterator[Readouts]:
            for block in full.items():
                assert isinstance(block, Readouts)
                yield self._kept(block)

        return Scan(header_xml, items)

    def _kept(self, block: Readouts) -> Readouts:
        kept = block.select((self.pattern | self.calibration)[block.headers["idx"]["kspace_encode_step_1"]])
        lines, flags = kept.headers["idx"]["kspace_encode_step_1"], kept.headers["flags"]
        flags[-1] |= np.uint64(FLAG_BITS["LAST_IN_SLICE"])
        if self.calibration_mode != "unannounced":
            in_calibration, in_pattern = self.calibration[lines], self.pattern[lines]
            flags[in_calibration & in_pattern] |= np.uint64(FLAG_BITS["IS_PARALLEL_CALIBRATION_AND_IMAGING"])
            flags[in_calibration & ~in_pattern] |= np.uint64(FLAG_BITS["IS_PARALLEL_CALIBRATION"])
        return kept

    def _parallel_imaging(self) -> bytes:
        return (
            f"<parallelImaging><accelerationFactor><kspace_encoding_step_1>{self.acceleration}"
            "</kspace_encoding_step_1><kspace_encoding_step_2>1</kspace_encoding_step_2></accelerationFactor>"
            f"<calibrationMode>{self.calibration_mode}</calibrationMode></parallelImaging>"
        ).encode()
