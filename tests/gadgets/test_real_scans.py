"""Real scans through the shipped recipes, against their own full sampling and against BART."""

import shutil
import subprocess
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
import torch

from gadgets.accumulate import Accumulate
from gadgets.gadget import Context
from gadgets.noise_adjust import NoiseAdjust
from gadgets.records import ImageSeries, Readouts
from gadgets.remove_oversampling import RemoveOversampling
from pipelines.recipe import recipe_by_name
from pipelines.runner import run
from recon_core.masks import equispaced_lines
from recon_core.metrics import nrmse
from tests.gadgets.small_scan import flagged

RunBart = Callable[..., list[torch.Tensor]]


def scan(path: Path) -> tuple[Context, list[Readouts]]:
    dataset = ismrmrd.Dataset(str(path), "dataset", mode="r")
    header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
    readouts = [dataset.read_acquisition(i) for i in range(dataset.number_of_acquisitions())]
    dataset.close()
    return Context(header=header), list(Readouts.from_acquisitions(readouts))


def images(recipe: str, context: Context, blocks: list[Readouts]) -> list[ImageSeries]:
    return list(run(recipe_by_name(recipe), blocks, context))


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
    assert torch.equal(lines, torch.arange(18, 124, 3))  # lines 0, 3 ... 105 about their centre 54
    assert kspace.calibration is not None
    assert kspace.calibration.shape == (14, 1, 48, 192)  # lines 30 to 77
    assert kspace.notes == ()


@pytest.mark.parametrize("recipe", ["cartesian_grappa", "cartesian_sense", "auto"])
def test_a_siemens_scan_agrees_with_bart(
    siemens: tuple[Context, list[Readouts]], bart: RunBart, recipe: str
) -> None:
    context, blocks = siemens
    (kspace,) = RemoveOversampling()(Accumulate()(NoiseAdjust()(blocks, context), context), context)
    assert kspace.calibration is not None
    calibration = torch.zeros_like(kspace.data)
    calibration[:, :, 48:96] = kspace.calibration
    (maps,) = bart("ecalib -m1 -r 48", calibration[None])
    (sense,) = bart("pics -S -i 50", kspace.data[None], maps.reshape(1, 14, 1, 144, 192))
    (image,) = images(recipe, context, blocks)
    theirs, ours = sense.abs().reshape(144, 192), image.data[0, 0]
    bottles = theirs > 0.1 * theirs.max()
    assert nrmse(ours[bottles], theirs[bottles] * (ours[bottles].norm() / theirs[bottles].norm())) < 0.04


@pytest.mark.parametrize(
    ("name", "acceleration", "recipe", "limit"),
    [
        ("brain_8ch_256x256", 2, "cartesian_grappa", 0.05),
        ("brain_8ch_256x256", 2, "cartesian_sense", 0.06),
        ("brain_8ch_230x180", 2, "auto", 0.06),
        ("brain_16ch_96x96", 2, "cartesian_wavelet", 0.08),
        ("brain_16ch_96x96", 4, "cartesian_sense", 0.1),
        ("brain_16ch_96x96", 4, "cartesian_grappa", 0.1),
    ],
)
def test_undersampled_brains_agree_with_their_full_sampling(
    shared_data: Path, name: str, acceleration: int, recipe: str, limit: float
) -> None:
    context, blocks = scan(shared_data / "raw" / f"{name}.h5")
    (full,) = images("cartesian_fft", context, blocks)
    (whole,) = blocks
    n_lines = int(whole.headers["idx"]["kspace_encode_step_1"].max()) + 1
    kept = equispaced_lines((n_lines, 1), acceleration, n_calibration=24, offset=0)[:, 0].numpy()
    undersampled = whole.select(kept[whole.headers["idx"]["kspace_encode_step_1"]])
    undersampled = flagged(undersampled, slice(-1, None), "LAST_IN_SLICE")
    (image,) = images(recipe, context, [undersampled])
    (aliased,) = images("cartesian_fft", context, [undersampled])
    assert nrmse(image.data, full.data) < limit < nrmse(aliased.data, full.data)


def test_every_slice_of_a_low_field_scan_becomes_an_image(shared_data: Path) -> None:
    context, blocks = scan(shared_data / "raw" / "brain_lowfield_a_gre_1ch.h5")
    series = images("auto", context, blocks)
    assert [float(image.header["position"][2]) for image in series] == [-7.5, -2.5, 2.5, 7.5]
    assert all(image.notes == ("not noise-whitened: no noise scan",) for image in series)


@pytest.mark.parametrize("acceleration", [1, 2])
def test_the_shepp_logan_generator_reconstructs_to_its_phantom(tmp_path: Path, acceleration: int) -> None:
    program = shutil.which("ismrmrd_generate_cartesian_shepp_logan")
    if program is None:
        pytest.skip("ismrmrd-tools is not installed")

    def generated(name: str, *options: str) -> tuple[Context, list[Readouts]]:
        path = tmp_path / name
        subprocess.run([program, "-m", "128", "-c", "8", "-r", "2", "-o", path, *options], check=True)
        return scan(path)

    context, blocks = generated("truth.h5", "-n", "0")
    truth = images("cartesian_fft", context, blocks)[0]
    options = ["-n", "0.02", "-C", *(["-a", "2", "-w", "24"] if acceleration == 2 else [])]
    context, blocks = generated("scan.h5", *options)
    series = images("auto", context, blocks)
    assert len(series) == 2 * acceleration
    inside = truth.data > 0.05 * truth.data.max()
    for image in series:
        ours = image.data[inside] * (truth.data[inside].norm() / image.data[inside].norm())
        assert nrmse(ours, truth.data[inside]) < 0.1
        assert all("missing" not in note and "flag" not in note for note in image.notes)


def test_cutting_a_real_stream_anywhere_gives_the_same_bits(siemens: tuple[Context, list[Readouts]]) -> None:
    context, blocks = siemens
    (whole,) = images("cartesian_grappa", context, blocks)
    single = [replace(block.select(slice(i, i + 1))) for block in blocks for i in range(len(block))]
    (cut,) = images("cartesian_grappa", context, single)
    assert np.array_equal(whole.data.numpy(), cut.data.numpy())
