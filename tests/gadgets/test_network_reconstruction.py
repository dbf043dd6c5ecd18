"""What a network is given of a k-space, and what an image says of it; whole recipes are tested elsewhere."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from gadgets.accumulate import Accumulate
from gadgets.anatomy import anatomy_of
from gadgets.coil_maps import CoilMaps, calibrated_by
from gadgets.gadget import Context
from gadgets.mrd_images import FALLBACK, to_mrd
from gadgets.name_series import NameSeries
from gadgets.network_input import sliced_axis, slices_of, spirit_kernels
from gadgets.network_reconstruction import NetworkReconstruction
from gadgets.reconstructed import METHOD
from gadgets.records import KSpace
from recon_core.coils.spirit_kernel import spirit_kernel
from recon_core.engine.engine import Engine
from recon_core.engine.store import ModelStore
from recon_core.engine.waiting import Priority
from recon_core.errors import InputError
from recon_core.fourier import fft, ifft
from recon_core.noise_level import estimated_noise_std
from tests.gadgets.small_scan import context, encoding, head_kspace, head_volume, readouts
from tests.model_packages import network_package

LINES = sorted({*range(0, 32, 2), *range(9, 23)})


def slice_kspace() -> KSpace:
    data, _ = head_kspace(4, (32, 32))
    block = readouts(data.numpy(), [(0, y) for y in LINES])
    (kspace,) = Accumulate()([block], context(encoding((32, 32, 1))))
    return kspace


def volume_kspace(lines: list[tuple[int, int]]) -> KSpace:
    data, _ = head_volume(3, (10, 18, 20))
    block = readouts(data.numpy(), lines, last=("LAST_IN_REPETITION",))
    (kspace,) = Accumulate()([block], context(encoding((20, 18, 10))))
    return kspace


def some_maps(kspace: KSpace) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    return torch.randn((1, *kspace.data.shape), dtype=torch.complex64, generator=generator)


@pytest.mark.parametrize(
    ("body_part", "anatomy"),
    [("HEAD", "brain"), ("Brain", "brain"), (" KNEE ", "knee"), ("FOOT", "foot"), ("", None), (None, None)],
)
def test_the_body_part_tells_the_anatomy(body_part: str | None, anatomy: str | None) -> None:
    header = SimpleNamespace(studyInformation=SimpleNamespace(bodyPartExamined=body_part))
    assert anatomy_of(header) == anatomy


def test_a_header_without_a_study_tells_no_anatomy() -> None:
    assert anatomy_of(None) is None
    assert anatomy_of(SimpleNamespace(studyInformation=None)) is None


def test_a_slice_is_given_as_it_is() -> None:
    kspace = slice_kspace()
    maps = some_maps(kspace)
    axis = sliced_axis(kspace)
    given = slices_of(calibrated_by(kspace, maps), axis)
    assert torch.equal(given.kspace, kspace.data.movedim(0, 1))
    assert torch.equal(given.sampled, kspace.sampled)
    assert given.coil_maps is not None
    assert torch.equal(given.coil_maps, maps[0].movedim(0, 1))
    assert given.noise_std is not None
    assert torch.equal(given.noise_std[0], estimated_noise_std(kspace.data[:, 0], kspace.sampled[0]))


def test_the_slices_of_a_volume_are_its_model_taken_apart() -> None:
    """What the slices' model M F S gives for an image is the volume's model of it, transformed along x."""
    lines = [(z, y) for z in range(10) for y in range(18) if (z + y) % 2 == 0 or 3 <= y < 15]
    kspace = volume_kspace(lines)
    maps = some_maps(kspace)
    axis = sliced_axis(kspace)
    assert axis == -1
    image = torch.randn(10, 18, 20, dtype=torch.complex64, generator=torch.Generator().manual_seed(1))
    data = fft(maps[0] * image) * kspace.sampled
    given = slices_of(calibrated_by(replace(kspace, data=data), maps), axis)
    assert given.coil_maps is not None
    modelled = fft(given.coil_maps * image.movedim(-1, 0)[:, None], (-2, -1)) * given.sampled[:, None]
    torch.testing.assert_close(given.kspace, modelled)


def test_kernels_of_a_volume_are_those_of_its_slices() -> None:
    kspace = volume_kspace([(z, y) for z in range(10) for y in range(18)])
    across = ifft(kspace.data, (-1,))
    which = (3, 10)
    for kernel, x in zip(spirit_kernels(kspace, -1, which, 5), which, strict=True):
        torch.testing.assert_close(kernel, spirit_kernel(across[..., x], 5), rtol=1e-3, atol=1e-4)


def test_networks_get_two_sets_of_maps_but_not_three_nor_an_empty_one() -> None:
    kspace = slice_kspace()
    maps = some_maps(kspace)
    second = slices_of(calibrated_by(kspace, torch.cat([maps, 2 * maps])), -3).second_maps
    assert second is not None
    assert torch.equal(second, 2 * maps[:, :, 0])
    assert slices_of(calibrated_by(kspace, torch.cat([maps, 0 * maps])), -3).second_maps is None
    with pytest.raises(InputError, match="expected one or two sets of coil maps, got 3"):
        slices_of(calibrated_by(kspace, maps.repeat(3, 1, 1, 1, 1)), -3)


def test_without_an_engine_the_image_is_classical() -> None:
    (image,) = NetworkReconstruction(fallback_iterations=3)([slice_kspace()], context(encoding((32, 32, 1))))
    assert image.meta[FALLBACK] == "true"
    assert image.notes[-1].startswith("model 'multicoil_cascade': expected an engine to run it, got none")


def test_maps_made_before_are_those_made_here(tmp_path: Path) -> None:
    network_package(tmp_path)
    with Engine(store=ModelStore(tmp_path, tmp_path)) as engine:
        scan = replace(context(encoding((32, 32, 1))), engine=engine, priority=Priority.REPLAY)
        (calibrated,) = CoilMaps()([slice_kspace()], scan)
        (with_maps,) = NetworkReconstruction()([calibrated], scan)
        (without,) = NetworkReconstruction()([slice_kspace()], scan)
    assert with_maps.meta[FALLBACK] == without.meta[FALLBACK] == "false"
    assert torch.equal(with_maps.data, without.data)


def test_k_space_that_is_not_finite_is_not_given_to_the_network(tmp_path: Path) -> None:
    network_package(tmp_path)
    kspace = slice_kspace()
    kspace.data[0, 0, 0, 3] = torch.nan
    with Engine(store=ModelStore(tmp_path, tmp_path)) as engine:
        (image,) = NetworkReconstruction()([kspace], replace(context(encoding((32, 32, 1))), engine=engine))
    assert image.meta[FALLBACK] == "true"
    assert "hold values that are not finite" in image.notes[-1]


def test_a_series_that_is_renamed_still_says_that_it_is_a_fallback() -> None:
    scan: Context = context(encoding((32, 32, 1)))
    fallback = list(NetworkReconstruction(fallback_iterations=3)([slice_kspace()], scan))
    (named,) = NameSeries(name="t2 tse")(fallback, scan)
    (image,) = to_mrd(named, {})
    assert image.meta["SeriesDescription"] == f"t2 tse (fallback: {named.meta[METHOD]})"
    assert image.meta["SequenceDescriptionAdditional"] == image.meta["SeriesDescription"]
    (again,) = to_mrd(replace(named, series_name=image.meta["SeriesDescription"]), {})
    assert again.meta["SeriesDescription"] == image.meta["SeriesDescription"]
