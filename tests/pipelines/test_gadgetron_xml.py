"""Gadgetron stream configurations become recipes: what they would do, what is lost, what is refused."""

import os
from pathlib import Path
from typing import Any

import pytest

from pipelines.gadgetron_names import STOCK_GADGETS
from pipelines.gadgetron_xml import MAX_XML_CHARACTERS, recipe_from_xml
from pipelines.recipe import Recipe, Step, recipe_from_text
from recon_core.errors import RecipeError
from tests.pipelines.gadgetron_configurations import (
    GENERIC_FFT,
    GENERIC_GRAPPA,
    OPTIMIZED,
    SIMPLE,
    Chain,
    legacy_xml,
    v2_xml,
)


def read(chain: Chain) -> Recipe:
    return recipe_from_xml(legacy_xml(chain), "the test's")


def uses(recipe: Recipe) -> list[str]:
    return [step.use for step in recipe.steps]


def parameters(recipe: Recipe, use: str) -> dict[str, Any]:
    (step,) = (step for step in recipe.steps if step.use == use)
    return step.parameters


@pytest.mark.parametrize("chain", [SIMPLE, OPTIMIZED, GENERIC_FFT, GENERIC_GRAPPA])
def test_both_dialects_give_the_same_recipe(chain: Chain) -> None:
    assert recipe_from_xml(v2_xml(chain), "x").steps == read(chain).steps


def test_the_default_chain_sums_squares_without_whitening() -> None:
    recipe = read(SIMPLE)
    assert uses(recipe) == ["Accumulate", "RemoveOversampling", "FourierReconstruction", "ImageType"]
    assert parameters(recipe, "FourierReconstruction") == {"combine": "rss"}
    assert parameters(recipe, "ImageType") == {"part": "magnitude"}
    assert recipe.notes == ()


def test_steps_on_readouts_move_behind_accumulation_in_their_order() -> None:
    assert uses(read(OPTIMIZED)) == [
        "NoiseAdjust",
        "Accumulate",
        "CoilCompression",
        "RemoveOversampling",
        "FourierReconstruction",
        "ImageType",
    ]


def test_principal_components_and_coil_reduction_are_one_compression() -> None:
    gadget = read(OPTIMIZED).gadgets[2]
    assert (gadget.n_coils, gadget.method) == (16, "svd")  # type: ignore[attr-defined]


def test_averages_stay_apart_as_in_gadgetron() -> None:
    assert "average" in read(SIMPLE).gadgets[0].sort_by  # type: ignore[attr-defined]


def test_the_trigger_is_kept() -> None:
    assert read(SIMPLE).gadgets[0].trigger == "repetition"  # type: ignore[attr-defined]
    assert read(GENERIC_FFT).gadgets[1].trigger is None  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("chain", "reconstruction"), [(GENERIC_FFT, "FourierReconstruction"), (GENERIC_GRAPPA, "Grappa")]
)
def test_the_generic_chains_whiten_reconstruct_crop_and_scale(chain: Chain, reconstruction: str) -> None:
    assert uses(read(chain)) == [
        "NoiseAdjust",
        "Accumulate",
        "RemoveOversampling",
        reconstruction,
        "CropFieldOfView",
        "ImageType",
        "ScaleIntensity",
    ]


def test_constant_scaling_and_integers_are_one_step_behind_the_image_type() -> None:
    recipe = read(GENERIC_GRAPPA)
    assert parameters(recipe, "ScaleIntensity") == {"factor": 10.0, "number": "uint16"}
    assert "max_intensity=32767" in " ".join(recipe.notes)


def test_integers_without_scaling_keep_the_values() -> None:
    recipe = read([*SIMPLE, ("FloatToUShortGadget", {})])
    assert parameters(recipe, "ScaleIntensity") == {"factor": 1.0, "number": "uint16"}


def test_automatic_scaling_has_gadgetrons_reference() -> None:
    recipe = read([*SIMPLE, ("AutoScaleGadget", {"max_value": "499.5"}), ("FloatToShortGadget", {})])
    scale = {"target": 499.5, "percentile": 99.0, "number": "int16"}
    assert parameters(recipe, "ScaleIntensity") == scale


def test_complex_images_are_not_scaled() -> None:
    recipe = read([gadget for gadget in GENERIC_FFT if gadget[0] != "ComplexToFloatGadget"])
    assert uses(recipe)[-1] == "CropFieldOfView"
    assert "complex images are not scaled" in recipe.notes


def test_kernel_sizes_are_kept() -> None:
    chain = [("Accumulate", {}), ("GenericReconCartesianGrappaGadget", {"grappa_kSize_RO": "7"})]
    assert parameters(read(chain), "Grappa") == {"kernel": [2, 4, 7]}


def test_spirit_is_linear_with_the_kernel_and_iterations_of_the_configuration() -> None:
    asked = {"spirit_kSize_RO": "5", "spirit_kSize_E1": "5", "spirit_iter_max": "70"}
    recipe = read([("Accumulate", {}), ("GenericReconCartesianSpiritGadget", asked)])
    assert parameters(recipe, "Spirit") == {"l1": 0.0, "kernel_width": 5, "n_iterations": 70}
    unequal = read([("Accumulate", {}), ("GenericReconCartesianSpiritGadget", {"spirit_kSize_RO": "9"})])
    assert parameters(unequal, "Spirit") == {"l1": 0.0}
    assert any("spirit_kSize_RO=9" in note for note in unequal.notes)


def test_every_property_without_counterpart_is_named_with_its_gadget() -> None:
    notes = read(GENERIC_GRAPPA).notes
    for gadget, lost in [
        ("GenericReconCartesianReferencePrepGadget", "average_all_ref_N=true"),
        ("GenericReconEigenChannelGadget", "upstream_coil_compression_thres=0.002"),
        ("GenericReconCartesianGrappaGadget", "coil_map_algorithm=Inati"),
        ("GenericReconPartialFourierHandlingFilterGadget", "partial_fourier_filter_RO_width=0.15"),
        ("GenericReconKSpaceFilteringGadget", "filterRO=Gaussian"),
    ]:
        assert any(note.startswith(gadget) and lost in note for note in notes), (gadget, notes)


def test_properties_that_change_no_image_are_named_once() -> None:
    notes = [note for note in read(GENERIC_FFT).notes if "perform_timing" in note]
    assert notes == ["debug_folder, image_series, perform_timing, verbose: without effect on images, ignored"]


def test_filters_that_are_switched_off_are_not_missed() -> None:
    off = {f"filter{axis}": "None" for axis in ("RO", "E1", "E2")}
    assert read([*SIMPLE, ("GenericReconKSpaceFilteringGadget", off)]).notes == ()


def test_filters_that_are_on_by_default_are_missed() -> None:
    (note,) = read([*SIMPLE, ("GenericReconKSpaceFilteringGadget", {})]).notes
    assert "filterE1=Gaussian" in note


def test_our_own_classes_take_properties_as_parameters() -> None:
    chain = [
        ("Accumulate", {}),
        ("CoilCompression", {"n_coils": "4", "method": "svd"}),
        ("FourierReconstruction", {"combine": "rss"}),
    ]
    assert read(chain).gadgets[1].n_coils == 4  # type: ignore[attr-defined]
    with pytest.raises(RecipeError, match="n_coils"):
        read([*chain[:1], ("CoilCompression", {"n_coils": "four"}), *chain[2:]])


def test_our_own_image_gadgets_keep_their_order() -> None:
    names = ["Accumulate", "FourierReconstruction", "ImageType", "ScaleIntensity", "Window", "NameSeries"]
    assert uses(read([(name, {}) for name in names])) == names
    summed = [("Accumulate", {}), ("FourierReconstruction", {"combine": "rss"}), ("ScaleIntensity", {})]
    assert uses(read(summed))[-1] == "ScaleIntensity"


def test_coils_are_combined_where_the_chain_combines_them() -> None:
    chain = [("AccumulatorGadget", {}), ("FFTGadget", {})]
    assert parameters(read(chain), "FourierReconstruction") == {"combine": "none"}
    assert parameters(read([*chain, ("CombineGadget", {})]), "FourierReconstruction") == {"combine": "rss"}


@pytest.mark.parametrize(
    ("properties", "part"),
    [
        ({"extract_mask": "8", "extract_magnitude": "false"}, "phase"),
        ({"extract_real": "true", "extract_magnitude": "false"}, "real"),
        ({"extract_mask": "1"}, "magnitude"),
    ],
)
def test_extract_chooses_the_image_type(properties: dict[str, str], part: str) -> None:
    recipe = read([*SIMPLE[:-2], ("ExtractGadget", properties)])
    assert parameters(recipe, "ImageType") == {"part": part}
    assert recipe.notes == ()


def test_image_types_beyond_the_first_are_missed() -> None:
    (note,) = read([*SIMPLE[:-2], ("ExtractGadget", {"extract_mask": "9"})]).notes
    assert "magnitude, phase" in note


def test_a_property_may_refer_to_another_gadgets() -> None:
    chain = [
        ("NoiseAdjustGadget", {"coils": "12"}),
        ("CoilReductionGadget", {"coils_out": "coils@NoiseAdjustGadget"}),
    ]
    assert parameters(read([*chain, *SIMPLE]), "CoilCompression")["n_coils"] == "12"


@pytest.mark.parametrize("value", ["x@Nobody", "coils_out@CoilReductionGadget"])
def test_a_reference_to_nothing_or_to_itself_is_refused(value: str) -> None:
    with pytest.raises(RecipeError, match="property@gadget"):
        read([("CoilReductionGadget", {"coils_out": value}), *SIMPLE])


def test_gadgets_spread_over_processes_are_taken_as_one_chain() -> None:
    spread = v2_xml(SIMPLE).replace(
        "<gadget><dll>any</dll><classname>ImageFinishGadget</classname></gadget>",
        '<parallelprocess workers="4"><purestream><gadget><dll>any</dll>'
        "<classname>ImageFinishGadget</classname></gadget></purestream></parallelprocess>",
    )
    assert "<purestream>" in spread
    assert recipe_from_xml(spread, "x").steps == read(SIMPLE).steps


def test_a_configuration_is_recognised_among_recipe_texts() -> None:
    assert recipe_from_text("\n " + v2_xml(SIMPLE), "x").steps == read(SIMPLE).steps


def test_a_recipe_has_the_name_of_its_file() -> None:
    assert recipe_from_xml(v2_xml(SIMPLE), "/there/Generic_X.xml").name == "Generic_X"
    assert recipe_from_xml(v2_xml(SIMPLE), "in CONFIG_TEXT").name == "gadgetron"


def test_an_unknown_class_is_refused_with_the_known_ones() -> None:
    with pytest.raises(
        RecipeError, match=r"gadget 2: .*NoiseAdjust.*SimpleReconGadget.* got 'EPIReconXGadget'"
    ):
        read([SIMPLE[0], ("EPIReconXGadget", {}), *SIMPLE[1:]])


@pytest.mark.parametrize("element", ["external", "parallel"])
def test_branches_and_external_processes_are_refused_by_name(element: str) -> None:
    xml = v2_xml(SIMPLE).replace("</stream>", f"<{element}/></stream>")
    with pytest.raises(RecipeError, match=f"<{element}>"):
        recipe_from_xml(xml, "x")


@pytest.mark.parametrize(
    ("xml", "said"),
    [
        ("<gadgetronStreamConfiguration>", "well-formed"),
        ("", "well-formed"),
        ("<ismrmrdHeader/>", "got <ismrmrdHeader>"),
        ("<configuration><version>3</version></configuration>", "version '3'"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><a>&b;</a>', "document type"),
        (
            '<?xml version="1.0"?><!DOCTYPE configuration SYSTEM "file:///etc/passwd"><configuration/>',
            "document type",
        ),
        ("<a>" + " " * MAX_XML_CHARACTERS + "</a>", "at most"),
        ("<gadgetronStreamConfiguration/>", "images at the end"),
        (
            legacy_xml(SIMPLE).replace("<name>sorting_dimension</name>", ""),
            "with name and value",
        ),
        (legacy_xml([*SIMPLE, ("ExtractGadget", {"extract_mask": "all"})]), "expected a number"),
    ],
)
def test_what_is_no_configuration_is_refused(xml: str, said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        recipe_from_xml(xml, "x")


@pytest.mark.parametrize("classname", sorted(STOCK_GADGETS))
def test_every_stock_gadget_alone_gives_steps_of_ours(classname: str) -> None:
    """Between an accumulation and a reconstruction every counterpart finds something to work on."""
    chain = [("Accumulate", {}), (classname, {})]
    if not {"FourierReconstruction", "Grappa", "Spirit"} & set(_uses_of(classname)):
        chain.append(("FourierReconstruction", {}))
    assert read(chain).gadgets


def _uses_of(classname: str) -> list[str]:
    return [result.use for result in STOCK_GADGETS[classname]({}) if isinstance(result, Step)]


@pytest.mark.parametrize(
    "name", ["default", "default_optimized", "Generic_Cartesian_FFT", "Generic_Cartesian_Grappa"]
)
def test_gadgetrons_own_files_are_read_unmodified(name: str) -> None:
    folder = os.environ.get("GADGETRON_CONFIG_DIR")
    if not folder:
        pytest.skip("GADGETRON_CONFIG_DIR names no Gadgetron installation")
    (path, *_) = Path(folder).rglob(f"{name}.xml")
    assert recipe_from_text(path.read_text(), str(path)).gadgets
