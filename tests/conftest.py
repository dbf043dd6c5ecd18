"""What every test may ask for: real data, and BART as a second implementation."""

import logging
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import ismrmrd
import numpy as np
import numpy.typing as npt
import pytest
import torch

from pipelines.simulated_scan import simulated_scan
from recon_core.simulate import simulate_acquisition

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY))  # benchmarks/ is not installed with the packages

from benchmarks.bart_cfl import run_bart  # noqa: E402

ArrayLike = npt.NDArray[np.complex64] | torch.Tensor
RunBart = Callable[..., list[torch.Tensor]]


@pytest.fixture(autouse=True)
def log_level_as_found() -> Iterator[None]:
    """Commands set the log level of their process, which is also that of the tests that follow."""
    logger = logging.getLogger("reconstream")
    level = logger.level
    yield
    logger.setLevel(level)


@pytest.fixture(scope="session", autouse=True)
def studies_of_tests(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Servers that tests start remember nothing among the user's own data."""
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RECONSTREAM_STUDIES", str(tmp_path_factory.mktemp("studies")))
        environment.setenv("RECONSTREAM_PSEUDONYMS", str(tmp_path_factory.mktemp("pseudonyms")))
        yield


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real scans (``raw/``) and images (``images/``); skips the test where it is absent."""
    folder = REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"real data not found at {folder}")
    return folder


@pytest.fixture(scope="session")
def bart() -> RunBart:
    """``bart("pics -S", kspace, coil_maps)`` runs one BART command and returns a list of its outputs.

    Arrays are C-ordered with BART's axes reversed, ``(set, coil, z, y, x)``; outputs come back as complex64
    tensors without leading axes of length one. `n_outputs` is one unless told.
    """
    if shutil.which("bart") is None:
        pytest.skip("bart is not installed")

    def run(command: str, *inputs: ArrayLike, n_outputs: int = 1) -> list[torch.Tensor]:
        arrays = [torch.as_tensor(array).resolve_conj().cpu().numpy() for array in inputs]
        result = run_bart(command, *arrays, n_outputs=n_outputs)
        return [torch.from_numpy(output) for output in result.outputs]

    return run


@pytest.fixture(scope="session")
def simulated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ISMRMRD HDF5: a noise scan, then two slices of 64 x 64 by 8 coils, R = 2, 20 calibration lines."""
    scan = simulated_scan(
        simulate_acquisition((64, 64), 8, n_slices=2), acceleration=2, n_calibration_lines=20
    )
    path = tmp_path_factory.mktemp("simulated") / "scan.h5"
    with ismrmrd.Dataset(str(path)) as dataset:
        dataset.write_xml_header(scan.header_xml)
        for readouts in scan.items():
            for acquisition in readouts.acquisitions():
                dataset.append_acquisition(acquisition)
    return path
