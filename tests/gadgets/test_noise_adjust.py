"""Noise whitening: what it attaches, where the noise comes from, and what it says without any."""

import logging
from dataclasses import replace

import numpy as np
import pytest
import torch

from gadgets.accumulate import Accumulate
from gadgets.gadget import Context
from gadgets.noise_adjust import NoiseAdjust
from gadgets.noise_of_study import BORROWED_NOTE
from gadgets.records import Readouts
from gadgets.study import ScanIdentity, StudyStore
from tests.gadgets.small_scan import (
    context,
    encoding,
    joined,
    noise_readout,
    random_complex,
    readouts,
    with_header,
)

N_COILS = 4
ENCODING = encoding((32, 16, 1))
MIXING = np.eye(N_COILS) * np.arange(1, N_COILS + 1) + 0.3j * random_complex((N_COILS, N_COILS), 5)


def measurement(identity: str, dependency: str = "") -> str:
    depends = dependency and (
        "<measurementDependency><dependencyType>Noise</dependencyType>"
        f"<measurementID>{dependency}</measurementID></measurementDependency>"
    )
    this = f"<measurementID>{identity}</measurementID><patientPosition>HFS</patientPosition>"
    return f"<measurementInformation>{this}{depends}</measurementInformation>"


def coloured(block: Readouts) -> Readouts:
    return replace(block, data=(MIXING @ block.data).astype(np.complex64))


def imaging(seed: int = 1) -> Readouts:
    """White unit noise, coloured by the receiver, where the image should be."""
    return coloured(readouts(random_complex((N_COILS, 1, 16, 32), seed)))


def adjusted(scan_context: Context, *blocks: Readouts) -> list[Readouts]:
    return list(NoiseAdjust()(blocks, scan_context))


def test_whitened_noise_is_white_and_of_unit_variance() -> None:
    noise = coloured(noise_readout(N_COILS, 20_000))
    (kspace,) = Accumulate()(adjusted(context(ENCODING), noise, imaging()), context(ENCODING))
    white = kspace.data.flatten(1)
    covariance = white @ white.mH / white.shape[1]
    assert torch.allclose(covariance, torch.eye(N_COILS, dtype=torch.complex64), atol=0.2)
    assert kspace.notes == ()


def test_noise_readouts_leave_the_stream() -> None:
    results = adjusted(context(ENCODING), coloured(noise_readout(N_COILS, 64)), imaging())
    assert [len(block) for block in results] == [16]
    assert not results[0].flagged("IS_NOISE_MEASUREMENT").any()


def system(bandwidth: str) -> str:
    return (
        f"<acquisitionSystemInformation><relativeReceiverNoiseBandwidth>{bandwidth}"
        "</relativeReceiverNoiseBandwidth></acquisitionSystemInformation>"
    )


@pytest.mark.parametrize("bandwidth", ["0", "-0.79", "793", "NaN", "INF"])
def test_a_bandwidth_that_cannot_be_meant_counts_as_one(
    bandwidth: str, caplog: pytest.LogCaptureFixture
) -> None:
    noise = noise_readout(N_COILS, 64)
    (wanted,) = adjusted(context(ENCODING), noise, imaging())
    (result,) = adjusted(context(ENCODING, system=system(bandwidth)), noise, imaging())
    assert wanted.coil_matrix is not None
    assert result.coil_matrix is not None
    assert torch.equal(result.coil_matrix, wanted.coil_matrix)
    (note,) = result.notes
    assert note.startswith("relative receiver noise bandwidth taken as 1, not ")
    assert note in caplog.text


def test_matrix_scales_with_dwell_times_and_receiver_bandwidth() -> None:
    noise = noise_readout(N_COILS, 64)
    (same,) = adjusted(context(ENCODING), noise, imaging())
    slow_noise = with_header(noise, sample_time_us=20)
    (scaled,) = adjusted(
        context(ENCODING, system=system("0.79")), slow_noise, with_header(imaging(), sample_time_us=2.5)
    )
    assert same.coil_matrix is not None
    assert scaled.coil_matrix is not None
    assert torch.allclose(scaled.coil_matrix, same.coil_matrix * np.sqrt(2.5 * 0.79 / 20))


def test_a_block_with_two_dwell_times_gets_two_matrices() -> None:
    both = joined(imaging(1), with_header(imaging(2), sample_time_us=20))
    first, second = adjusted(context(ENCODING), noise_readout(N_COILS, 64), both)
    assert first.coil_matrix is not None
    assert second.coil_matrix is not None
    assert torch.allclose(second.coil_matrix, 2 * first.coil_matrix)


def test_matrix_composes_with_one_the_readouts_carry() -> None:
    first = torch.from_numpy(random_complex((2, N_COILS), 9))
    noise = coloured(noise_readout(N_COILS, 256))
    (result,) = adjusted(context(ENCODING), noise, replace(imaging(), coil_matrix=first))
    samples = torch.from_numpy(noise.data[0])
    covariance = samples @ samples.mH / samples.shape[1]
    assert result.coil_matrix is not None
    white = result.coil_matrix @ covariance @ result.coil_matrix.mH
    assert torch.allclose(white, torch.eye(2, dtype=torch.complex64), atol=1e-4)


def test_without_noise_readouts_pass_unwhitened_and_say_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        (result,) = adjusted(context(ENCODING), imaging())
    assert result.coil_matrix is None
    assert result.notes == ("not noise-whitened: no noise scan",)
    assert "no noise scan" in caplog.text


@pytest.mark.parametrize(
    ("noise", "reason"),
    [
        (noise_readout(N_COILS - 1, 64), "3 channels, readouts of 4"),
        (noise_readout(N_COILS, 2), "at least as many noise samples"),
        (
            replace(noise_readout(N_COILS, 64), data=np.zeros((1, N_COILS, 64), np.complex64)),
            "noise in every channel",
        ),
    ],
    ids=["channels", "short", "dead"],
)
def test_noise_that_cannot_be_used_is_noted_not_fatal(noise: Readouts, reason: str) -> None:
    (result,) = adjusted(context(ENCODING), noise, imaging())
    assert result.coil_matrix is None
    assert result.notes[0].startswith("not noise-whitened: ")
    assert reason in result.notes[0]


def test_a_later_scan_uses_the_noise_scan_its_header_names() -> None:
    study = StudyStore()
    noise = coloured(noise_readout(N_COILS, 256))
    assert adjusted(context(ENCODING, measurement=measurement("noise-1"), study=study), noise) == []
    later = context(ENCODING, measurement=measurement("scan-2", "noise-1"), study=study)
    (own,) = adjusted(context(ENCODING), noise, imaging())
    (borrowed,) = adjusted(later, imaging())
    assert own.coil_matrix is not None
    assert borrowed.coil_matrix is not None
    assert torch.equal(own.coil_matrix, borrowed.coil_matrix)
    (unrelated,) = adjusted(context(ENCODING, measurement=measurement("scan-3"), study=study), imaging())
    assert unrelated.coil_matrix is None


def coils(*names: str) -> str:
    labels = "".join(
        f"<coilLabel><coilNumber>{number}</coilNumber><coilName>{name}</coilName></coilLabel>"
        for number, name in enumerate(names)
    )
    return f"<acquisitionSystemInformation>{labels}</acquisitionSystemInformation>"


def of_patient(patient: str, measured: str) -> str:
    """`measurement` information with a study before it."""
    subject = f"<subjectInformation><patientID>{patient}</patientID></subjectInformation>"
    study = "<studyInformation><studyInstanceUID>1.2</studyInstanceUID></studyInformation>"
    return f"{subject}{study}{measured}"


def test_channels_of_an_earlier_noise_scan_follow_the_coils_of_this_one() -> None:
    """Also where the noise scan had more of them."""
    study, names, order = StudyStore(), ("a", "b", "c", "d"), [2, 0, 3]
    noise = coloured(noise_readout(N_COILS, 256))
    adjusted(context(ENCODING, measurement=measurement("noise"), system=coils(*names), study=study), noise)
    subset = replace(imaging(), data=imaging().data[:, order])
    (own,) = adjusted(context(ENCODING), replace(noise, data=noise.data[:, order]), subset)
    named = measurement("scan", "noise")
    turned = context(ENCODING, measurement=named, system=coils(*(names[i] for i in order)), study=study)
    (borrowed,) = adjusted(turned, subset)
    assert own.coil_matrix is not None
    assert borrowed.coil_matrix is not None
    assert torch.allclose(own.coil_matrix, borrowed.coil_matrix, rtol=1e-4)
    assert borrowed.notes == ()
    foreign = context(ENCODING, measurement=named, system=coils("a", "b", "e"), study=study)
    (unwhitened,) = adjusted(foreign, subset)
    assert unwhitened.notes == ("not noise-whitened: noise scan without the coil e",)


def test_coils_that_all_have_one_name_stay_as_they_are() -> None:
    study, system = StudyStore(), coils(*["Head"] * N_COILS)
    noise = coloured(noise_readout(N_COILS, 256))
    (own,) = adjusted(
        context(ENCODING, measurement=measurement("noise"), system=system, study=study), noise, imaging()
    )
    later = context(ENCODING, measurement=measurement("scan", "noise"), system=system, study=study)
    (borrowed,) = adjusted(later, imaging())
    assert own.coil_matrix is not None
    assert borrowed.coil_matrix is not None
    assert torch.equal(own.coil_matrix, borrowed.coil_matrix)


@pytest.mark.parametrize(
    ("patient", "names", "is_used"), [("p", "abcd", True), ("q", "abcd", False), ("p", "abce", False)]
)
def test_a_scan_that_names_no_noise_borrows_that_of_its_patients_coils_and_says_so(
    patient: str, names: str, is_used: bool
) -> None:
    study = StudyStore()
    noise_scan = of_patient("p", measurement("noise"))
    noise = coloured(noise_readout(N_COILS, 256))
    adjusted(context(ENCODING, measurement=noise_scan, system=coils(*"abcd"), study=study), noise)
    scan = of_patient(patient, measurement("scan"))
    (block,) = adjusted(context(ENCODING, measurement=scan, system=coils(*names), study=study), imaging())
    assert (block.coil_matrix is not None) == is_used
    assert block.notes == ((BORROWED_NOTE,) if is_used else ("not noise-whitened: no noise scan",))


def test_late_noise_is_noted_and_still_stored_for_the_study() -> None:
    study = StudyStore()
    scan = context(ENCODING, measurement=measurement("scan-1"), study=study)
    first, second = adjusted(scan, imaging(), noise_readout(N_COILS, 64), imaging())
    assert first.notes == ("not noise-whitened: no noise scan",)
    assert "after imaging began" in second.notes[1]
    assert second.coil_matrix is None
    assert study.find("noise", ScanIdentity(), "scan-1")
