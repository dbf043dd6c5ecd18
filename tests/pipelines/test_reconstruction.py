"""From a scan to its images: the one path, with provenance and notes, and errors that say where."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import ismrmrd
import numpy as np
import pytest

from gadgets.gadget import Context, Gadget
from gadgets.mrd_images import NOTE
from gadgets.records import ImageSeries, Readouts
from gadgets.study import StudyStore
from pipelines import recipe as recipe_module
from pipelines import reconstruct
from pipelines.mrd_header import header_from_xml
from pipelines.recipe import Recipe, Step, recipe_by_name
from pipelines.reconstruction import reconstruct_scan
from recon_core.errors import GadgetError, InputError, RecipeError, StreamError
from tests.pipelines import wire
from tests.pipelines.serving import contents, offline

SCAN = wire.scan()
XML = wire.header_xml()


def readouts() -> list[Any]:
    return wire.messages(b"".join(SCAN[2:-1]))


class Waveforms(Gadget, frozen=True):
    """Images of nothing; all else passes."""

    accepts = ismrmrd.Waveform
    emits = ImageSeries

    def __call__(self, items: Iterable[Any], context: Context) -> Iterator[Any]:
        yield from ()


def test_every_image_says_how_it_was_made() -> None:
    recipe = recipe_by_name("cartesian_fft")
    (image,) = reconstruct_scan(recipe, XML, readouts())
    assert image.meta["Reconstream.Recipe"] == "cartesian_fft"
    assert image.meta["Reconstream.RecipeHash"] == recipe.hash


def test_where_the_readouts_are_cut_into_blocks_changes_no_bit() -> None:
    (block,) = Readouts.from_acquisitions(a for r in readouts() for a in r.acquisitions())
    whole = list(reconstruct_scan(recipe_by_name("cartesian_fft"), XML, [block]))
    halves = [block.select(slice(0, 3)), block.select(slice(3, None))]
    in_parts = list(reconstruct_scan(recipe_by_name("cartesian_fft"), XML, halves))
    assert contents(whole) == contents(in_parts) == contents(offline(SCAN))


def test_a_warning_is_logged_once_a_scan_and_noted_in_every_image(caplog: pytest.LogCaptureFixture) -> None:
    scan = wire.scan(n_slices=2)
    del scan[2 + wire.N + 3], scan[2 + 3]  # a line of each slice
    for _ in range(2):
        caplog.clear()
        images = offline(scan)
        assert all(f"1 of {wire.N} lines missing" in image.meta[NOTE] for image in images)
        assert caplog.text.count(f"1 of {wire.N} lines missing") == 1


def test_a_scan_is_refused_in_the_same_words_however_it_is_cut() -> None:
    recipe = recipe_by_name("cartesian_fft").with_parameters({"Accumulate.max_bytes": 1})
    (block,) = Readouts.from_acquisitions(a for r in readouts() for a in r.acquisitions())
    said = set()
    for blocks in ([block], [block.select(slice(0, 3)), block.select(slice(3, None))]):
        with pytest.raises(GadgetError, match="at or after scan counter 1: expected images in") as caught:
            list(reconstruct_scan(recipe, XML, blocks))
        said.add(str(caught.value))
    assert len(said) == 1


def test_images_are_those_of_the_plain_transform() -> None:
    (image,) = reconstruct_scan(
        recipe_by_name("cartesian_fft").with_parameters({"FourierReconstruction.combine": "rss"}),
        XML,
        readouts(),
    )
    kspace = np.stack([r.data[0] for r in readouts()], axis=1)  # (coil, ky, kx)
    shifted = np.fft.ifftshift(kspace, axes=(1, 2))
    coils = np.fft.fftshift(np.fft.ifft2(shifted, norm="ortho"), axes=(1, 2))
    assert np.allclose(image.data[0, 0], np.sqrt((np.abs(coils) ** 2).sum(0)), rtol=1e-4)


def test_what_is_no_image_at_the_end_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipe_module, "known_gadgets", lambda: {"Waveforms": Waveforms})
    image = ismrmrd.Image.from_array(np.zeros((2, 2), np.float32))
    recipe = Recipe(name="tiny", about="", steps=(Step("Waveforms"),))
    assert list(reconstruct_scan(recipe, XML, [*readouts(), image])) == [image]


def test_what_a_translated_recipe_lost_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    recipe = recipe_by_name("cartesian_fft")
    noted = Recipe(name="noted", about="", steps=recipe.steps, notes=("Window: no counterpart",))
    list(reconstruct_scan(noted, XML, readouts()))
    assert ("reconstream", logging.WARNING, "Window: no counterpart") in caplog.record_tuples


def test_errors_are_raised_as_the_caller_can_act_on_them() -> None:
    fft = recipe_by_name("cartesian_fft")
    with pytest.raises(StreamError, match="MRD header: expected"):
        list(reconstruct_scan(fft, b"<a/>", readouts()))
    with pytest.raises(GadgetError, match="recipe 'cartesian_fft', gadget Accumulate, before any readout"):
        list(reconstruct_scan(fft, XML, []))
    with pytest.raises(RecipeError, match="ImageType"):
        list(reconstruct_scan(fft.with_parameters({"ImageType.part": "half"}), XML, readouts()))


def test_a_file_acquisitions_and_an_array_give_the_same_image(tmp_path: Path) -> None:
    path = tmp_path / "scan.mrd"
    path.write_bytes(b"".join(SCAN))
    acquisitions = [a for r in readouts() for a in r.acquisitions()]
    expected = contents(offline(SCAN))
    assert contents(reconstruct(path, "cartesian_fft")) == expected
    assert contents(reconstruct(str(path), recipe_by_name("cartesian_fft"))) == expected
    assert contents(reconstruct(acquisitions, "cartesian_fft", header=XML)) == expected
    assert contents(reconstruct(readouts(), "cartesian_fft", header=header_from_xml(XML))) == expected
    kspace = np.stack([r.data[0] for r in readouts()], axis=1)
    (image,) = reconstruct(kspace, "cartesian_fft")
    assert np.array_equal(image.data, offline(SCAN)[0].data)


def test_parameters_and_recipe_files_are_taken(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    path.write_text(
        'name="own"\nabout=""\n[[gadget]]\nuse = "Accumulate"\n[[gadget]]\nuse = "FourierReconstruction"\n'
    )
    parameters = {"FourierReconstruction.combine": "none"}
    (image,) = reconstruct(readouts(), path, parameters=parameters, header=XML)
    assert image.data.shape == (wire.N_COILS, 1, wire.N, wire.N)


def test_acquisitions_without_a_header_are_refused() -> None:
    with pytest.raises(InputError, match="expected the MRD header beside acquisitions"):
        reconstruct(readouts(), "cartesian_fft")


def test_a_recipe_that_finds_nothing_to_reconstruct_says_so() -> None:
    images_only = Recipe(name="images_only", about="", steps=(Step("ImageType"),), start="images")
    with pytest.raises(InputError, match="recipe 'images_only': expected data that make an image"):
        list(reconstruct_scan(images_only, XML, readouts()))


def test_a_noise_scan_alone_makes_no_image_and_serves_the_scan_that_names_it() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal((wire.N_COILS, 256, 2), np.float32).view(np.complex64)[..., 0]
    noise_scan = wire.messages(wire.acquisition(noise, flags=1 << 18))
    study = StudyStore()
    own, other = "<measurementID>first</measurementID>", "<measurementID>second</measurementID>"
    dependency = f"<measurementDependency><dependencyType>Noise</dependencyType>{own}</measurementDependency>"
    prepared = recipe_by_name("default_measurement_dependencies.xml")
    assert list(reconstruct_scan(prepared, _measured(own), noise_scan, study=study)) == []
    scan = _measured(other + dependency)
    (image,) = reconstruct_scan(recipe_by_name("cartesian_fft"), scan, readouts(), study=study)
    assert NOTE not in image.meta


def _measured(information: str) -> bytes:
    return wire.header_xml(extra=f"<measurementInformation>{information}</measurementInformation>")
