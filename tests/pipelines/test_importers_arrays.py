"""numpy, MATLAB, BART and fastMRI arrays become ISMRMRD files that others read, sample for sample."""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import h5py
import ismrmrd
import numpy as np
import pytest
import torch
from scipy.io import savemat

from benchmarks.bart_cfl import read_cfl, write_cfl
from gadgets.records import FLAG_BITS, Readouts
from pipelines.importers import IMPORTERS, import_scan, kind_of
from pipelines.mrd_header import header_from_xml
from pipelines.recipe import recipe_by_name
from pipelines.reconstruction import reconstruct_scan
from pipelines.sources import Item, open_scan
from recon_core.errors import InputError
from recon_core.fourier import ifft

RNG = np.random.default_rng(3)


def kspace(*shape: int) -> Any:
    return (RNG.normal(size=shape) + 1j * RNG.normal(size=shape)).astype(np.complex64)


def blocks(path: Path) -> list[Readouts]:
    items: list[Item] = list(open_scan(path).items())
    return [item for item in items if isinstance(item, Readouts)]


def encoding(path: Path) -> Any:
    return header_from_xml(open_scan(path).header_xml).encoding[0]


def matrix(space: Any) -> tuple[int, ...]:
    return space.matrixSize.x, space.matrixSize.y, space.matrixSize.z


def fov(space: Any) -> tuple[float, ...]:
    return space.fieldOfView_mm.x, space.fieldOfView_mm.y, space.fieldOfView_mm.z


def test_every_line_lies_under_its_counters(tmp_path: Path) -> None:
    array = kspace(2, 3, 4, 5, 6, 7)  # all lengths differ: a mixed-up axis cannot pass
    np.save(tmp_path / "k.npy", array)
    path = import_scan(tmp_path / "k.npy", tmp_path / "k.h5", axes="repetition, slice, coil, kz, ky, kx")
    n_lines = 0
    for block in blocks(path):
        for acquisition in block.acquisitions():
            idx = acquisition.idx
            line = array[idx.repetition, idx.slice, :, idx.kspace_encode_step_2, idx.kspace_encode_step_1, :]
            assert np.array_equal(acquisition.data, line)
            n_lines += 1
    assert n_lines == 2 * 3 * 5 * 6
    limits = encoding(path).encodingLimits
    assert matrix(encoding(path).encodedSpace) == (7, 6, 5)
    assert (limits.kspace_encoding_step_1.maximum, limits.kspace_encoding_step_1.center) == (5, 3)
    assert (limits.kspace_encoding_step_2.maximum, limits.kspace_encoding_step_2.center) == (4, 2)
    assert (limits.repetition.maximum, limits.slice.maximum, limits.contrast.maximum) == (1, 2, 0)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [((6, 7), (1, 1, 1)), ((4, 6, 7), (1, 4, 1)), ((4, 5, 6, 7), (1, 4, 5)), ((3, 4, 5, 6, 7), (3, 4, 5))],
)
def test_default_axes_are_slice_coil_kz_ky_kx(
    tmp_path: Path, shape: tuple[int, ...], expected: tuple[int, int, int]
) -> None:
    np.save(tmp_path / "k.npy", kspace(*shape))
    path = import_scan(tmp_path / "k.npy", tmp_path / "k.h5")
    n_slices, n_coils, n_z = expected
    assert matrix(encoding(path).encodedSpace) == (7, 6, n_z)
    assert fov(encoding(path).encodedSpace) == (220, 220, 5 * n_z)
    assert {block.data.shape[1] for block in blocks(path)} == {n_coils}
    assert sum(len(block) for block in blocks(path)) == n_slices * n_z * 6


def test_lines_of_zeros_were_not_sampled(tmp_path: Path) -> None:
    array = kspace(2, 8, 6)
    array[:, 1::2] = 0
    np.savez(tmp_path / "k.npz", array)
    (block,) = blocks(import_scan(tmp_path / "k.npz", tmp_path / "k.h5", fov_mm=(100, 90, 3)))
    assert block.headers["idx"]["kspace_encode_step_1"].tolist() == [0, 2, 4, 6]
    assert fov(encoding(tmp_path / "k.h5").reconSpace) == (100, 90, 3)


def test_ends_are_flagged_and_slices_lie_side_by_side(tmp_path: Path) -> None:
    np.save(tmp_path / "k.npy", kspace(2, 3, 4, 6))
    path = import_scan(tmp_path / "k.npy", tmp_path / "k.h5", axes="repetition slice ky kx")
    headers = np.concatenate([block.headers for block in blocks(path)])
    ends = headers["flags"] & FLAG_BITS["LAST_IN_SLICE"] != 0
    assert np.flatnonzero(ends).tolist() == [3, 7, 11, 15, 19, 23]
    assert np.flatnonzero(headers["flags"] & FLAG_BITS["LAST_IN_REPETITION"]).tolist() == [11, 23]
    assert np.flatnonzero(headers["flags"] & FLAG_BITS["LAST_IN_MEASUREMENT"]).tolist() == [23]
    assert headers["position"][::4, 2].tolist() == [-5, 0, 5] * 2
    assert headers["scan_counter"].tolist() == list(range(24))


def test_the_reference_libraries_read_and_reconstruct_the_file(tmp_path: Path) -> None:
    array = kspace(3, 8, 8)
    np.save(tmp_path / "k.npy", array)
    path = import_scan(tmp_path / "k.npy", tmp_path / "k.h5")
    with ismrmrd.Dataset(path, "dataset", mode="r") as dataset:
        header = ismrmrd.xsd.CreateFromDocument(dataset.read_xml_header())
        assert header.encoding[0].encodedSpace.matrixSize.x == 8
        assert dataset.number_of_acquisitions() == 8
        assert np.array_equal(dataset.read_acquisition(5).data, array[:, 5])
    if shutil.which("ismrmrd_recon_cartesian_2d") is None:
        pytest.skip("ismrmrd-tools is not installed")
    subprocess.run(["ismrmrd_recon_cartesian_2d", path], check=True, timeout=60)
    with ismrmrd.Dataset(path, "dataset", mode="r") as dataset:
        theirs = dataset.read_image("cpp", 0).data[0, 0]
    ours = ifft(torch.from_numpy(array)[:, None]).norm(dim=0)[0].numpy()
    assert np.allclose(theirs / theirs.max(), ours / ours.max(), atol=1e-5)


def reconstructed(path: Path) -> Any:
    scan = open_scan(path)
    recipe = recipe_by_name("cartesian_fft").with_parameters({"FourierReconstruction.combine": "rss"})
    images = reconstruct_scan(recipe, scan.header_xml, scan.items())
    return np.stack([np.abs(image.data[0]) for image in images])


@pytest.mark.parametrize("suffix", ["", ".cfl", ".hdr"])
def test_barts_own_phantom_reconstructs_as_bart_reconstructs_it(
    tmp_path: Path, suffix: str, bart: Any
) -> None:
    _ = bart  # skips where BART is not installed
    commands = ("phantom -k -s 4 -x 32 k", "fft -i -u 7 k coils", "rss 8 coils image")
    for command in commands:
        subprocess.run(["bart", *command.split()], cwd=tmp_path, check=True)
    import_scan(tmp_path / f"k{suffix}", tmp_path / "k.h5")
    ours, theirs = reconstructed(tmp_path / "k.h5").squeeze(), np.abs(read_cfl(tmp_path / "image").squeeze())
    scale = (ours * theirs).sum() / (ours * ours).sum()
    assert np.linalg.norm(scale * ours - theirs) < 1e-4 * np.linalg.norm(theirs)


def test_bart_slices_and_time_become_slices_and_repetitions(tmp_path: Path) -> None:
    array = kspace(3, 1, 1, 2, 1, 1, 1, 1, 1, 1, 4, 1, 5, 6)  # reversed: 13 slice, 10 time, 3 coil, ky, kx
    write_cfl(tmp_path / "k", array)
    for block in blocks(import_scan(tmp_path / "k.cfl", tmp_path / "k.h5")):
        for acquisition in block.acquisitions():
            idx = acquisition.idx
            line = array.reshape(3, 2, 4, 5, 6)[idx.slice, idx.repetition, :, idx.kspace_encode_step_1]
            assert np.array_equal(acquisition.data, line)


def test_bart_files_that_are_no_cartesian_kspace_are_refused(tmp_path: Path) -> None:
    write_cfl(tmp_path / "maps", kspace(2, 4, 1, 5, 6))
    write_cfl(tmp_path / "radial", kspace(4, 20, 30, 1))
    write_cfl(tmp_path / "cut", kspace(4, 1, 5, 6))
    (tmp_path / "cut.cfl").write_bytes(b"\0" * 80)
    (tmp_path / "lone.cfl").write_bytes(b"\0" * 80)
    for name, says in (("maps", "others"), ("radial", "non-Cart"), ("cut", "got 80"), ("lone", "Dimensions")):
        with pytest.raises(InputError, match=says):
            import_scan(tmp_path / f"{name}.cfl", tmp_path / "out.h5")
    assert not (tmp_path / "out.h5").exists()


def fastmri_file(path: Path, array: Any, mask: Any = None) -> Path:
    """As fastMRI stores a knee: readout 2x oversampled, lines zero-padded about the ones acquired."""
    spaces = "".join(
        f"<{name}><matrixSize><x>{x}</x><y>{y}</y><z>1</z></matrixSize><fieldOfView_mm><x>{fov_x}</x>"
        f"<y>{fov_y}</y><z>4.5</z></fieldOfView_mm></{name}>"
        for name, x, y, fov_x, fov_y in (("encodedSpace", 24, 20, 240, 150), ("reconSpace", 12, 16, 120, 120))
    )
    with h5py.File(path, "w") as file:
        file["kspace"] = array
        file["ismrmrd_header"] = (
            '<?xml version="1.0" encoding="utf-8"?><ismrmrdHeader xmlns="http://www.ismrm.org/ISMRMRD">'
            "<experimentalConditions><H1resonanceFrequency_Hz>63</H1resonanceFrequency_Hz>"
            f"</experimentalConditions><encoding>{spaces}<encodingLimits><kspace_encoding_step_1>"
            "<minimum>0</minimum><maximum>13</maximum><center>7</center></kspace_encoding_step_1>"
            "</encodingLimits><trajectory>cartesian</trajectory></encoding></ismrmrdHeader>"
        )
        if mask is not None:
            file["mask"] = mask
    return path


@pytest.mark.parametrize("n_coils", [0, 3])
def test_fastmri_height_is_the_readout_and_width_the_phase_encoding(tmp_path: Path, n_coils: int) -> None:
    array = kspace(2, *([n_coils] if n_coils else []), 24, 20)
    array[..., :3] = array[..., 17:] = 0
    path = import_scan(fastmri_file(tmp_path / "knee.h5", array), tmp_path / "mrd.h5")
    array = array.reshape(2, n_coils or 1, 24, 20)
    (block,) = blocks(path)
    idx = block.headers["idx"]
    assert idx["slice"].tolist() == [0] * 14 + [1] * 14
    assert idx["kspace_encode_step_1"].tolist() == list(range(3, 17)) * 2
    lines = array[idx["slice"], :, :, idx["kspace_encode_step_1"]]
    assert np.array_equal(block.data, lines)
    assert matrix(encoding(path).encodedSpace) == (24, 20, 1)
    assert matrix(encoding(path).reconSpace) == (12, 16, 1)
    assert fov(encoding(path).encodedSpace) == (240, 150, 4.5)
    assert encoding(path).encodingLimits.kspace_encoding_step_1.center == 10


def test_fastmri_lines_outside_the_mask_are_left_out(tmp_path: Path) -> None:
    mask = np.arange(20) % 4 == 0
    path = import_scan(fastmri_file(tmp_path / "knee.h5", kspace(1, 3, 24, 20), mask), tmp_path / "mrd.h5")
    (block,) = blocks(path)
    assert block.headers["idx"]["kspace_encode_step_1"].tolist() == [0, 4, 8, 12, 16]


def test_a_fastmri_object_reconstructs_upright_in_the_recon_field_of_view(tmp_path: Path) -> None:
    """A point is put at readout +3 and phase +2 voxels from the centre; it must come out there."""
    image = torch.zeros(1, 1, 24, 20, dtype=torch.complex64)
    image[0, 0, 12 + 3, 10 + 2] = 1
    array = torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(image, dim=(-2, -1))), dim=(-2, -1)).numpy()
    path = import_scan(fastmri_file(tmp_path / "knee.h5", array), tmp_path / "mrd.h5")
    shown = reconstructed(path)[0, 0]
    assert shown.shape == (16, 12)
    assert np.unravel_index(shown.argmax(), shown.shape) == (8 + 2, 6 + 3)


def save_v73(path: Path, **variables: Any) -> None:
    """As MATLAB lays out version 7.3: 512 bytes of its own, then HDF5, axes reversed, complex pairs."""
    with h5py.File(path, "w", userblock_size=512) as file:
        for name, value in variables.items():
            pairs = np.empty(value.T.shape, [("real", "<f8"), ("imag", "<f8")])
            pairs["real"], pairs["imag"] = value.T.real, value.T.imag
            file[name] = pairs
    with path.open("r+b") as raw:
        raw.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64")


@pytest.mark.parametrize("save", [lambda path, **v: savemat(path, v), save_v73])
def test_matlab_arrays_are_read_in_matlabs_order(tmp_path: Path, save: Any) -> None:
    array = kspace(7, 6, 4)
    save(tmp_path / "k.mat", kspace=array, other=kspace(2, 2))
    assert kind_of(tmp_path / "k.mat") == "matlab"
    with pytest.raises(InputError, match=r"kspace \(7, 6, 4\), other \(2, 2\)"):
        import_scan(tmp_path / "k.mat", tmp_path / "k.h5")
    (block,) = blocks(import_scan(tmp_path / "k.mat", tmp_path / "k.h5", variable="kspace"))
    assert np.allclose(block.data, array.transpose(1, 2, 0), rtol=1e-6)
    (block,) = blocks(
        import_scan(tmp_path / "k.mat", tmp_path / "k.h5", variable="kspace", axes="ky kx coil")
    )
    assert np.allclose(block.data, array.transpose(0, 2, 1), rtol=1e-6)


def test_what_cannot_be_imported_is_refused_with_the_reason(tmp_path: Path, simulated_file: Path) -> None:
    np.save(tmp_path / "zeros.npy", np.zeros((2, 3, 4), np.complex64))
    np.save(tmp_path / "k.npy", kspace(3, 4))
    np.save(tmp_path / "text.npy", np.array([["a", "b"]]))
    np.save(tmp_path / "pickle.npy", np.array([{}], object), allow_pickle=True)
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4 not a zip")
    (tmp_path / "broken.mat").write_bytes(b"MATLAB 5.0 MAT-file" + b"\0" * 200)
    (tmp_path / "text.txt").write_text("hello, what is this")
    cases: list[tuple[Path, dict[str, Any], str]] = [
        (tmp_path / "zeros.npy", {}, "zeros only"),
        (tmp_path / "k.npy", {"axes": "ky ky"}, "ky, ky"),
        (tmp_path / "k.npy", {"axes": "coil ky kx"}, "2 different axis names"),
        (tmp_path / "k.npy", {"axes": "ky z"}, "name the axes"),
        (tmp_path / "k.npy", {"fov": 3}, "axes, fov_mm, got fov"),
        (tmp_path / "k.npy", {"kind": "dicom"}, "bart, fastmri, matlab, numpy, siemens"),
        (tmp_path / "text.npy", {}, "no array"),
        (tmp_path / "pickle.npy", {}, "pickle"),
        (tmp_path / "broken.npz", {}, "numpy array"),
        (tmp_path / "broken.mat", {}, "MATLAB"),
        (tmp_path / "text.txt", {}, "hello"),
        (tmp_path / "missing.mat", {}, "No such file"),
        (simulated_file, {}, "needs no import"),
    ]
    for source, options, says in cases:
        with pytest.raises(InputError, match=says):
            import_scan(source, tmp_path / "out.h5", **options)
    with pytest.raises(InputError, match="another file than the source"):
        import_scan(tmp_path / "k.npy", tmp_path / "k.npy")
    assert not (tmp_path / "out.h5").exists()
    assert set(IMPORTERS) == {"bart", "fastmri", "matlab", "numpy", "siemens"}
