"""Files as slices, and slices on one side of a split only."""

from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from PIL import Image

from recon_core.errors import InputError
from recon_core.training.slices import Slice
from recon_core.training.sources import Source, read_slices
from recon_core.training.split import Split, split_slices

VOLUME = np.arange(1, 1 + 6 * 5 * 4, dtype=np.uint16).reshape(6, 5, 4)


def source(*files: str, **changes: Any) -> Source:
    return Source(
        **{"name": "mine", "files": files, "licence": "CC0", "terms": "permissive", "anatomy": "brain"}
        | changes
    )


def test_the_first_axis_of_a_numpy_array_counts_slices(tmp_path: Path) -> None:
    np.savez(tmp_path / "one.npz", volume=VOLUME, label=VOLUME)
    slices = read_slices([source("*.npz", arrays="vol*", every=2)], [tmp_path])
    assert [found.position for found in slices] == [2, 4]  # slice 0 is nearly empty
    torch.testing.assert_close(slices[0].data, torch.from_numpy(VOLUME[2] / np.float32(VOLUME.max())))
    assert {(found.subject, found.kind, found.source) for found in slices} == {
        ("one.npz", "magnitude", "mine")
    }


def test_the_last_axis_of_nifti_counts_slices(tmp_path: Path) -> None:
    nibabel.save(nibabel.Nifti1Image(VOLUME.T, np.eye(4)), tmp_path / "one.nii.gz")
    slices = read_slices([source("*.nii.gz")], [tmp_path])
    torch.testing.assert_close(slices[-1].data, torch.from_numpy(VOLUME[-1].T / np.float32(VOLUME.max())))


def test_pictures_are_grey_slices(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6, 3), 200, np.uint8)).save(tmp_path / "one.png")
    (found,) = read_slices([source("*.png", kind="natural", subject="slice")], [tmp_path])
    assert found.kind == "natural"
    torch.testing.assert_close(found.data, torch.ones(4, 6))


def test_two_planes_along_the_last_axis_are_complex_where_told(tmp_path: Path) -> None:
    real = VOLUME.astype(np.float16)
    np.save(tmp_path / "one.npy", np.stack([real, -real], axis=-1))
    slices = read_slices([source("*.npy", kind="complex")], [tmp_path])
    assert slices[-1].data.dtype == torch.complex64
    assert float(slices[-1].data.abs().max()) == pytest.approx(1)
    assert float((slices[-1].data.angle() + torch.pi / 4).abs().max()) < 1e-3


def test_subjects_are_what_the_expression_matches(tmp_path: Path) -> None:
    np.savez(tmp_path / "many.npz", p1_a=VOLUME, p1_b=VOLUME, p2_a=VOLUME)
    slices = read_slices([source("many.npz", subject=r"p\d")], [tmp_path])
    assert {found.subject for found in slices} == {"p1", "p2"}
    with pytest.raises(InputError, match="subject"):
        read_slices([source("many.npz", subject="patient")], [tmp_path])


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"expected files like x\*"):
        read_slices([source("x*")], [tmp_path])
    (tmp_path / "broken.npz").write_bytes(b"PK not an archive")
    with pytest.raises(InputError, match=r"broken\.npz"):
        read_slices([source("broken.npz")], [tmp_path])
    np.savez(tmp_path / "text.npz", names=np.array(["a", "b"]))
    with pytest.raises(InputError, match=r"text\.npz:names"):
        read_slices([source("text.npz")], [tmp_path])


def fake(subject: str, position: int, name: str = "mine") -> Slice:
    return Slice(data=torch.ones(2, 2), kind="magnitude", subject=subject, position=position, source=name)


def test_no_subject_is_on_both_sides_whatever_its_sources() -> None:
    slices = [fake(f"subject {s}", p, name) for s in range(10) for p in range(3) for name in ("t1", "t2")]
    training, held_out = split_slices(slices, Split(held_out=0.2))
    assert len(held_out) == 12
    assert len(training) == 48
    assert not {found.subject for found in training} & {found.subject for found in held_out}


def test_folds_hold_out_every_subject_once() -> None:
    slices = [fake(f"subject {s}", 0) for s in range(10)]
    held_out = [
        f.subject for fold in range(5) for f in split_slices(slices, Split(held_out=0.2, fold=fold))[1]
    ]
    assert sorted(held_out) == sorted(found.subject for found in slices)


def test_a_single_subject_is_split_in_blocks_with_a_gap_the_same_in_every_contrast() -> None:
    slices = [fake("one", p, name) for name in ("t1", "t2") for p in range(20) if (name, p) != ("t2", 0)]
    training, held_out = split_slices(slices, Split(held_out=0.2, fold=2, gap=2))
    away = {abs(a.position - b.position) for a in training for b in held_out}
    assert min(away) == 3
    assert sorted({found.position for found in held_out}) == [8, 9, 10, 11]


def test_too_little_to_split_is_refused() -> None:
    with pytest.raises(InputError, match="more"):
        split_slices([fake("one", 0)], Split())
