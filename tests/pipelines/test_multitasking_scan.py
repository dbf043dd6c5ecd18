"""The simulated multitasking scan in MRD: what readouts and header say, what a file gives back, the truth."""

from dataclasses import replace
from pathlib import Path

import ismrmrd
import numpy as np
import pytest
import torch

from gadgets.records import Readouts
from pipelines.anatomy_file import read_anatomy
from pipelines.inspection import inspect_scan
from pipelines.mrd_hdf5_writer import write_scan
from pipelines.multitasking_scan import multitasking_scan
from pipelines.simulated_truth import read_truth, write_truth
from pipelines.sources import open_scan
from recon_core.dynamic.bloch import InversionRecovery
from recon_core.dynamic.multitasking import MultitaskingScan, Protocol, random_subject
from recon_core.dynamic.tissues import Tissue
from recon_core.errors import InputError

PROTOCOL = Protocol(
    matrix=32, n_coils=3, n_spokes=70, sequence=InversionRecovery(n_pulses=48, tr_ms=40.0, delay_ms=10.0)
)


@pytest.fixture(scope="module")
def simulation() -> MultitaskingScan:
    return MultitaskingScan(random_subject(PROTOCOL, 5), PROTOCOL, 5)


@pytest.fixture(scope="module")
def file(simulation: MultitaskingScan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("multitasking") / "scan.h5"
    write_scan(multitasking_scan(simulation, with_ecg=True), path)
    return path


def readouts_of(path: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Headers, data and trajectories of all but the noise scan."""
    blocks = [item for item in open_scan(path).items() if isinstance(item, Readouts)][1:]
    headers, data, trajectory = (
        np.concatenate([getattr(block, name) for block in blocks])
        for name in ("headers", "data", "trajectory")
    )
    return headers, data, trajectory


def test_the_file_holds_what_was_simulated(simulation: MultitaskingScan, file: Path) -> None:
    headers, data, trajectory = readouts_of(file)
    np.testing.assert_array_equal(data, torch.cat(list(simulation.kspace())).numpy())
    np.testing.assert_array_equal(trajectory, simulation.trajectory.numpy())
    counters = headers["idx"]
    np.testing.assert_array_equal(counters["kspace_encode_step_1"], np.arange(140) // 2)
    np.testing.assert_array_equal(counters["contrast"], np.arange(140) % 48 // 2)
    np.testing.assert_array_equal(counters["repetition"], np.arange(140) // 48)
    np.testing.assert_array_equal(headers["scan_counter"], 2 + np.arange(140))
    elapsed_ms = 2.5 * headers["acquisition_time_stamp"].astype(float)
    assert np.abs(elapsed_ms - 1000 * simulation.motion.times_s.numpy()).max() <= 2.5


def test_navigators_are_flagged_and_lie_along_kx(file: Path) -> None:
    headers, _, trajectory = readouts_of(file)
    is_navigator = headers["flags"] & (1 << (ismrmrd.ACQ_IS_NAVIGATION_DATA - 1)) != 0
    assert is_navigator.tolist() == [True, False] * 70
    assert not trajectory[is_navigator, :, 1].any()
    np.testing.assert_allclose(trajectory[is_navigator][:, :, 0], np.arange(-16, 16, 0.5)[None].repeat(70, 0))


def test_the_header_is_one_that_the_reference_parser_reads(simulation: MultitaskingScan) -> None:
    header = ismrmrd.xsd.CreateFromDocument(multitasking_scan(simulation, field_strength_t=1.5).header_xml)
    (encoding,) = header.encoding
    assert encoding.trajectory == ismrmrd.xsd.trajectoryType.GOLDENANGLE
    assert encoding.encodedSpace.matrixSize.x == 2 * encoding.reconSpace.matrixSize.x == 64
    assert encoding.trajectoryDescription.userParameterLong[0].value == 2
    assert encoding.encodingLimits.contrast.maximum == 23
    assert encoding.encodingLimits.repetition.maximum == 2
    assert header.sequenceParameters.TR == [40.0]
    np.testing.assert_allclose(header.sequenceParameters.TI, 50 + 80 * np.arange(24))
    assert header.sequenceParameters.flipAngle_deg == [5.0]
    assert header.acquisitionSystemInformation.systemFieldStrength_T == 1.5


def test_inspect_understands_the_file(file: Path) -> None:
    inspection = inspect_scan(file)
    assert inspection.encodings[0].trajectory == "goldenangle"
    assert inspection.flags["IS_NAVIGATION_DATA"] == 70
    assert inspection.n_waveforms == {0: 6}
    assert inspection.noise is not None


def test_the_ecg_triggers_at_r_waves(simulation: MultitaskingScan, file: Path) -> None:
    waveforms = [item for item in open_scan(file).items() if isinstance(item, ismrmrd.Waveform)]
    trace, trigger = np.concatenate([w.data for w in waveforms], axis=1)
    times_s = np.arange(len(trace)) * 0.0025
    expected_s = [t for t in simulation.motion.r_waves_s.tolist() if 0 <= t < times_s[-1]]
    np.testing.assert_allclose(times_s[trigger == 1], expected_s, atol=0.0025)
    assert (trace[trigger == 1] > 2900).all()
    assert [w.time_stamp for w in waveforms] == [400 * second for second in range(6)]


def test_the_truth_can_be_read_back_and_gives_any_frame(simulation: MultitaskingScan, tmp_path: Path) -> None:
    path = tmp_path / "scan.truth.npz"
    write_truth(simulation, path)
    truth = read_truth(path)
    state = torch.tensor([0.2, 0.4]), torch.tensor([0.0, 0.9]), torch.tensor([30, 47])
    assert torch.equal(truth.chest.frames(*state), simulation.chest.frames(*state))
    assert torch.equal(truth.motion.respiration, simulation.motion.respiration)
    still = torch.zeros(20)
    torch.testing.assert_close(
        truth.bright_blood, truth.chest.frames(truth.cardiac_phases, still, torch.full((20,), 47))
    )
    assert [p.name for p in tmp_path.iterdir()] == ["scan.truth.npz"]


def test_blood_is_bright_in_the_one_and_dark_in_the_other(tmp_path: Path) -> None:
    protocol = replace(
        PROTOCOL, matrix=64, sequence=InversionRecovery(n_pulses=172, tr_ms=14.4, flip_angle_deg=10)
    )
    simulation = MultitaskingScan(random_subject(protocol, 1), protocol)
    write_truth(simulation, tmp_path / "t.npz")
    truth = read_truth(tmp_path / "t.npz")
    blood, muscle = (truth.tissue_maps == label for label in (Tissue.BLOOD, Tissue.MYOCARDIUM))
    bright, dark = truth.bright_blood.abs(), truth.dark_blood.abs()
    assert bright[blood].median() > 1.2 * bright[muscle].median()
    assert dark[blood].median() < 0.5 * dark[muscle].median()


def test_other_files_are_no_truth(file: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", kspace=np.ones(3))
    for path in (file, tmp_path / "other.npz", tmp_path / "missing.npz"):
        with pytest.raises(InputError, match="expected the truth of a simulated scan"):
            read_truth(path)


def test_anatomies_come_from_labelled_images_or_a_cine(tmp_path: Path) -> None:
    y, x = np.mgrid[-30:30, -40:40]
    distance = np.hypot(y, x)
    image = 0.3 * (np.hypot(y / 26, x / 36) < 1) + 0.7 * (distance < 9)
    np.savez(tmp_path / "labelled.npz", image_a=image, label_a=2 * (distance < 12) + (distance < 9))
    np.save(tmp_path / "cine.npy", np.stack([image, np.where(distance < 9, 0.3, image)]))
    np.savez(tmp_path / "neither.npz", image_a=image)
    for name in ("labelled.npz", "cine.npy"):
        anatomy = read_anatomy(tmp_path / name, 64, seed=1)
        assert anatomy.tissue.shape == (64, 64)
        assert anatomy.tissue[32, 32] == Tissue.BLOOD
    with pytest.raises(InputError, match="got image_a"):
        read_anatomy(tmp_path / "neither.npz", 64, seed=1)
    (tmp_path / "text.npz").write_text("no archive")
    with pytest.raises(InputError, match=r"images in an \.npz"):
        read_anatomy(tmp_path / "text.npz", 64, seed=1)
