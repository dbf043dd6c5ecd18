"""A recipe as a node of a Gadgetron chain, driven by a parent that speaks Gadgetron's side."""

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import ismrmrd
import numpy as np
import numpy.typing as npt
import pytest
from gadgetron.types.image_array import ImageArray
from gadgetron.types.recon_data import ReconBit, ReconBuffer, ReconData, SamplingDescription

from gadgets import external
from tests.e2e.gadgetron_parent import (
    TIMEOUT_S,
    Answer,
    Parent,
    bucket_bytes,
    with_child_process,
    with_child_thread,
)

REPOSITORY = Path(__file__).parents[2]
N_COILS, N_Y, N_X = 3, 18, 16

RECIPE = """
name = "sum_of_squares"
about = "Fourier transform, root of the sum of squares"
[[gadget]]
use = "Accumulate"
[[gadget]]
use = "RemoveOversampling"
[[gadget]]
use = "FourierReconstruction"
with = { combine = "rss" }
[[gadget]]
use = "ImageType"
"""
CONFIGURATION = f"<configuration><recipe><![CDATA[{RECIPE}]]></recipe></configuration>"

Complex = npt.NDArray[np.complex64]


def header_xml(oversampling: int = 1) -> bytes:
    def space(x: int) -> str:
        return (
            f"<matrixSize><x>{x}</x><y>{N_Y}</y><z>1</z></matrixSize>"
            f"<fieldOfView_mm><x>{10 * x}</x><y>{10 * N_Y}</y><z>5</z></fieldOfView_mm>"
        )

    def limit(name: str, n: int) -> str:
        return f"<{name}><minimum>0</minimum><maximum>{n - 1}</maximum><center>{n // 2}</center></{name}>"

    return (
        '<ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD"><experimentalConditions>'
        "<H1resonanceFrequency_Hz>128000000</H1resonanceFrequency_Hz></experimentalConditions><encoding>"
        f"<encodedSpace>{space(oversampling * N_X)}</encodedSpace><reconSpace>{space(N_X)}</reconSpace>"
        f"<encodingLimits>{limit('kspace_encoding_step_1', N_Y)}{limit('slice', 2)}</encodingLimits>"
        "<trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
    ).encode()


@pytest.fixture
def coil_images() -> Complex:
    """`(slice, coil, y, x)`."""
    random = np.random.default_rng(1)
    shape = 2, N_COILS, N_Y, N_X
    return (random.normal(size=shape) + 1j * random.normal(size=shape)).astype(np.complex64)


def kspace_of(image: Complex) -> Complex:
    """Centred and orthonormal over the last two axes."""
    axes = -2, -1
    shifted = np.fft.fftn(np.fft.ifftshift(image, axes), axes=axes, norm="ortho")
    return np.fft.fftshift(shifted, axes).astype(np.complex64)


def acquisitions_of(kspace: Complex) -> list[ismrmrd.Acquisition]:
    acquisitions = []
    for number, (which_slice, line) in enumerate(np.ndindex(2, N_Y)):
        acquisition = ismrmrd.Acquisition.from_array(np.ascontiguousarray(kspace[which_slice, :, line]))
        acquisition.scan_counter = number + 1
        acquisition.idx.slice, acquisition.idx.kspace_encode_step_1 = which_slice, line
        acquisition.center_sample = kspace.shape[-1] // 2
        acquisition.position = (0, 0, 10.0 * which_slice)
        if line == N_Y - 1:
            acquisition.set_flag(ismrmrd.ACQ_LAST_IN_SLICE)
        acquisitions.append(acquisition)
    return acquisitions


def buffer_of(kspace: Complex) -> ReconBuffer:
    """Both slices along the location axis of `[E0, E1, E2, CHA, N, S, LOC]`."""
    headers = np.empty((N_Y, 1, 1, 1, 2), dtype=object)
    for acquisition in acquisitions_of(kspace):
        head = acquisition.getHead()
        headers[head.idx.kspace_encode_step_1, 0, 0, 0, head.idx.slice] = head
    data = kspace.transpose(3, 2, 1, 0)[:, :, None, :, None, None, :]
    return ReconBuffer(data, None, None, headers, SamplingDescription())


def converse(*items: object, configuration: str = CONFIGURATION, header: bytes | None = None) -> Answer:
    parent = with_child_thread(external.recipe)
    return parent.converse(configuration, header or header_xml(), items)


def check_images(answer: Answer, coil_images: Complex) -> None:
    assert answer.errors == []
    assert [image.slice for image in answer.images] == [0, 1]
    for image, coils in zip(answer.images, coil_images, strict=True):
        assert image.data.dtype == np.float32
        assert image.image_type == ismrmrd.IMTYPE_MAGNITUDE
        expected = np.sqrt(np.sum(np.abs(coils) ** 2, axis=0))
        np.testing.assert_allclose(image.data[0, 0], expected, rtol=1e-4, atol=1e-5)


def test_readouts_become_images(coil_images: Complex) -> None:
    answer = converse(*acquisitions_of(kspace_of(coil_images)))
    check_images(answer, coil_images)
    assert [tuple(image.position) for image in answer.images] == [(0, 0, 0), (0, 0, 10)]


def test_readouts_whose_oversampling_gadgetron_removed_become_images(coil_images: Complex) -> None:
    """The header still speaks of twice the samples."""
    answer = converse(*acquisitions_of(kspace_of(coil_images)), header=header_xml(oversampling=2))
    check_images(answer, coil_images)
    assert answer.images[0].data.shape == (1, 1, N_Y, N_X)


def test_readouts_whose_oversampling_is_ours_to_remove_become_images(coil_images: Complex) -> None:
    wide = np.pad(coil_images, [(0, 0)] * 3 + [(N_X // 2, N_X // 2)])
    answer = converse(*acquisitions_of(kspace_of(wide)), header=header_xml(oversampling=2))
    check_images(answer, coil_images)


def test_buckets_become_images(coil_images: Complex) -> None:
    acquisitions = acquisitions_of(kspace_of(coil_images))
    waveform = ismrmrd.Waveform.from_array(np.arange(20, dtype=np.uint32).reshape(2, 10))
    buckets = [bucket_bytes([a for a in acquisitions if a.idx.slice == n], [], [waveform]) for n in (0, 1)]
    check_images(converse(*buckets), coil_images)


def test_a_bucket_with_reference_lines_loses_none_and_doubles_none(coil_images: Complex) -> None:
    """Lines for calibration and image come in both parts of a bucket; lines for calibration alone in one."""
    acquisitions = acquisitions_of(kspace_of(coil_images))
    both = acquisitions[5:12] + acquisitions[N_Y + 5 : N_Y + 12]
    for acquisition in both:
        acquisition.set_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION_AND_IMAGING)
    alone = acquisitions_of(kspace_of(coil_images))[3:5]
    for acquisition in alone:
        acquisition.set_flag(ismrmrd.ACQ_IS_PARALLEL_CALIBRATION)
    check_images(converse(bucket_bytes(acquisitions, alone + both)), coil_images)


def test_recon_data_becomes_images(coil_images: Complex) -> None:
    data = ReconData([ReconBit(buffer_of(kspace_of(coil_images)))])
    check_images(converse(data), coil_images)


def test_recon_data_with_a_reference_and_removed_oversampling_becomes_images(coil_images: Complex) -> None:
    buffer = buffer_of(kspace_of(coil_images))
    data = ReconData([ReconBit(buffer, buffer)])
    check_images(converse(data, header=header_xml(oversampling=2)), coil_images)


def image_array_of(images: Complex) -> ImageArray:
    headers = np.empty((1, 1, 2), dtype=object)
    for n in (0, 1):
        headers[0, 0, n] = ismrmrd.ImageHeader()
        headers[0, 0, n].slice, headers[0, 0, n].image_type = n, ismrmrd.IMTYPE_MAGNITUDE
        headers[0, 0, n].field_of_view = (160, 180, 5)
        headers[0, 0, n].read_dir, headers[0, 0, n].phase_dir = (1, 0, 0), (0, 1, 0)
    meta = "<ismrmrdMeta><meta><name>Origin</name><value>array</value></meta></ismrmrdMeta>"
    return ImageArray(images.transpose(2, 1, 0)[:, :, None, None, None, None, :], headers, [meta, meta])


def test_image_arrays_become_images(coil_images: Complex) -> None:
    answer = converse(image_array_of(coil_images[:, 0]))
    check_images(answer, coil_images[:, :1])
    assert tuple(answer.images[1].field_of_view) == (160, 180, 5)
    assert answer.images[1].meta["Origin"] == "array"


def test_images_become_images(coil_images: Complex) -> None:
    images = []
    for n, coils in enumerate(coil_images):
        image = ismrmrd.Image.from_array(coils[0][None, None], transpose=False)
        image.slice = n
        images.append(image)
    check_images(converse(*images), coil_images[:, :1])


def test_signed_integers_which_the_core_cannot_read_go_as_float() -> None:
    image = ismrmrd.Image.from_array(np.arange(-8, 8, dtype=np.int16).reshape(1, 1, 4, 4), transpose=False)
    image.image_type = ismrmrd.IMTYPE_REAL
    configuration = CONFIGURATION.replace(
        "</configuration>", '<property name="ImageType.part" value="real"/></configuration>'
    )
    answer = converse(image, configuration=configuration)
    assert answer.errors == []
    assert answer.images[0].data.dtype == np.float32
    np.testing.assert_array_equal(answer.images[0].data, image.data)


def test_properties_set_parameters_of_the_recipe(coil_images: Complex) -> None:
    configuration = CONFIGURATION.replace(
        "</configuration>", '<property name="ImageType.part" value="complex"/></configuration>'
    )
    configuration = configuration.replace("rss", "none")
    answer = converse(*acquisitions_of(kspace_of(coil_images)), configuration=configuration)
    assert answer.images[0].data.dtype == np.complex64
    np.testing.assert_allclose(answer.images[1].data[:, 0], coil_images[1], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("configuration", "said"),
    [
        ("<configuration/>", 'expected <property name="recipe"'),
        ('<configuration><property name="recipe" value="nonsense"/></configuration>', "'nonsense'"),
        ('<configuration><property name="recipe" value="../x"/></configuration>', "'../x'"),
        (CONFIGURATION.replace("ImageType", "Nonsense"), "got 'Nonsense'"),
        (CONFIGURATION.replace("combine", "combnie"), "combnie"),
        (
            CONFIGURATION.replace("<recipe>", '<property name="Nonsense.n" value="1"/><recipe>'),
            "Nonsense.n",
        ),
        ("<configuration>", "expected XML"),
    ],
)
def test_a_recipe_that_cannot_run_is_an_error_to_the_parent(
    configuration: str, said: str, coil_images: Complex
) -> None:
    answer = converse(*acquisitions_of(kspace_of(coil_images)), configuration=configuration)
    assert said in " ".join(answer.errors)
    assert answer.closed
    assert answer.images == []


def broken_data(kspace: Complex) -> dict[str, list[object]]:
    acquisitions = acquisitions_of(kspace)
    acquisitions[7].idx.kspace_encode_step_1 = 3000
    non_cartesian = buffer_of(kspace)
    non_cartesian.trajectory = np.zeros((2, N_X, N_Y, 1, 1, 1, 2), np.float32)
    return {
        "3000": list(acquisitions),
        "trajectory": [ReconData([ReconBit(non_cartesian)])],
        "got 777": [b"\x09\x03"],
        "at most": [b"\xff\x03" + 2 * (1).to_bytes(8, "little") + (2**61).to_bytes(8, "little")],
        "no image": [],
    }


@pytest.mark.parametrize("said", ["3000", "trajectory", "got 777", "at most"])
def test_data_that_cannot_be_used_is_an_error_to_the_parent(said: str, coil_images: Complex) -> None:
    answer = converse(*broken_data(kspace_of(coil_images))[said])
    assert len(answer.errors) == 1
    assert said in answer.errors[0]
    assert answer.closed


def test_an_error_is_heard_although_the_parent_goes_quiet(coil_images: Complex) -> None:
    parent = with_child_thread(external.recipe)
    parent.begin(CONFIGURATION, header_xml())
    for item in broken_data(kspace_of(coil_images))["3000"]:
        parent.send(item)
    assert "3000" in parent.answer().errors[0]


def test_a_broken_installation_is_an_error_to_the_parent(
    monkeypatch: pytest.MonkeyPatch, coil_images: Complex
) -> None:
    def target(connection: object) -> None:
        with pytest.raises(ValueError, match="not enough values"):
            external.recipe(connection)

    monkeypatch.setattr(external, "entry_points", lambda **_: ())
    parent = with_child_thread(target)
    answer = parent.converse(CONFIGURATION, header_xml(), acquisitions_of(kspace_of(coil_images)))
    assert "reinstall reconstream" in answer.errors[0]


@pytest.fixture
def child_process() -> Iterator[tuple[Parent, "subprocess.Popen[bytes]"]]:
    parent, child = with_child_process()
    yield parent, child
    child.kill()
    child.wait()
    parent.connection.close()


def test_a_child_process_makes_images(
    child_process: tuple[Parent, "subprocess.Popen[bytes]"], coil_images: Complex
) -> None:
    parent, child = child_process
    answer = parent.converse(CONFIGURATION, header_xml(), acquisitions_of(kspace_of(coil_images)))
    check_images(answer, coil_images)
    assert child.wait(TIMEOUT_S) == 0


def test_a_child_process_ends_when_its_parent_vanishes(
    child_process: tuple[Parent, "subprocess.Popen[bytes]"], coil_images: Complex
) -> None:
    parent, child = child_process
    parent.begin(CONFIGURATION, header_xml())
    for acquisition in acquisitions_of(kspace_of(coil_images))[:5]:
        parent.send(acquisition)
    parent.connection.close()
    assert child.wait(TIMEOUT_S) is not None


def test_a_waiting_process_can_be_connected_to(coil_images: Complex) -> None:
    """Gadgetron's <connect port="..."/>: the child listens."""
    with socket.socket(socket.AF_INET6) as free:
        try:
            free.bind(("", 0))
        except OSError:
            pytest.skip("gadgetron's listen() needs IPv6")
        port = free.getsockname()[1]
    program = (
        "from gadgetron.external.listen import listen; from gadgets.external import recipe; "
        f"listen({port}, recipe)"
    )
    child = subprocess.Popen([sys.executable, "-W", "ignore", "-c", program])
    try:
        parent = Parent(_connected(port))
        answer = parent.converse(CONFIGURATION, header_xml(), acquisitions_of(kspace_of(coil_images)))
        check_images(answer, coil_images)
        assert child.wait(TIMEOUT_S) == 0
    finally:
        child.kill()
        child.wait()


def _connected(port: int) -> socket.socket:
    until = time.monotonic() + TIMEOUT_S
    while True:
        try:
            return socket.create_connection(("localhost", port))
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.05)
