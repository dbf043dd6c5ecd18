"""Multi-coil k-space for calibrating: simulated, and real where it is at hand."""

from collections.abc import Callable
from pathlib import Path

import ismrmrd
import pytest
import torch

from recon_core.fourier import resize
from recon_core.simulate import simulate_acquisition

ReadRaw = Callable[[str], torch.Tensor]


@pytest.fixture(scope="session")
def head() -> torch.Tensor:
    """Simulated k-space (coil, 1, ky, kx) of the head phantom: 8 coils, 96 x 80, correlated noise."""
    scan = simulate_acquisition((96, 80), 8, oversampling=1, snr=60.0)
    return scan.kspace[0]


@pytest.fixture(scope="session")
def read_raw(shared_data: Path) -> ReadRaw:
    """Fully sampled single-slice k-space (coil, 1, ky, kx) of one of the real scans, by name."""

    def read(name: str) -> torch.Tensor:
        with ismrmrd.Dataset(shared_data / "raw" / f"{name}.h5", mode="r") as dataset:
            lines = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]
        lines.sort(key=lambda line: int(line.idx.kspace_encode_step_1))
        return torch.stack([torch.from_numpy(line.data) for line in lines], dim=1)[:, None]

    return read


def centre(kspace: torch.Tensor, size: int = 24) -> torch.Tensor:
    """The middle `size` samples of ky and kx."""
    return resize(kspace, (size, size))
