"""A real scan between the gadgets: the images themselves are compared in tests/e2e."""

from pathlib import Path

import ismrmrd
import numpy as np
import pytest
import torch

from gadgets.accumulate import Accumulate
from gadgets.gadget import Context
from gadgets.noise_adjust import NoiseAdjust
from gadgets.records import Readouts
from gadgets.remove_oversampling import RemoveOversampling
from pipelines.recipe import recipe_by_name
from pipelines.runner import run


def scan(path: Path) -> tuple[Context, list[Readouts]]:
    dataset = ismrmrd.Dataset(str(path), "dataset", mode="r")
    header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    readouts = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]
    dataset.close()
    return Context(header=header), list(Readouts.from_acquisitions(readouts))


@pytest.fixture(scope="module")
def siemens(shared_data: Path) -> tuple[Context, list[Readouts]]:
    return scan(shared_data / "raw" / "siemens_phantom_14ch_grappa3_noise.h5")


def test_a_siemens_scan_is_whitened_placed_and_calibrated(siemens: tuple[Context, list[Readouts]]) -> None:
    context, blocks = siemens
    noise = torch.from_numpy(blocks[0].data[0])
    (first, *_) = NoiseAdjust()(blocks, context)
    assert first.coil_matrix is not None
    white = first.coil_matrix @ noise
    # 20 us of noise dwell time, 2.4 us of imaging, a relative bandwidth of 0.793.
    assert torch.allclose(white @ white.mH / 384 / (2.4 / 20 * 0.793), torch.eye(14) + 0j, atol=1e-3)

    (kspace,) = RemoveOversampling()(Accumulate()(NoiseAdjust()(blocks, context), context), context)
    assert kspace.data.shape == (14, 1, 144, 192)
    lines = kspace.sampled.all(-1)[0].nonzero().flatten()
    every_third = set(range(18, 124, 3))  # lines 0, 3 ... 105 about their centre 54
    assert lines.tolist() == sorted(every_third | set(range(48, 96)))  # and, embedded, 30 to 77
    assert kspace.calibration is not None
    assert kspace.calibration.shape == (14, 1, 48, 192)  # lines 30 to 77
    assert kspace.notes == ()


def test_cutting_a_real_stream_anywhere_gives_the_same_bits(siemens: tuple[Context, list[Readouts]]) -> None:
    context, blocks = siemens
    (whole,) = run(recipe_by_name("cartesian_grappa"), blocks, context)
    single = [block.select(slice(i, i + 1)) for block in blocks for i in range(len(block))]
    (cut,) = run(recipe_by_name("cartesian_grappa"), single, context)
    assert np.array_equal(whole.data.numpy(), cut.data.numpy())
