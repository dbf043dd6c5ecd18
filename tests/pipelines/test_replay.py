"""A journal tells which recipe the client asked for, and with which parameters."""

import struct
from pathlib import Path

import pytest

from pipelines.messages import MessageId
from pipelines.recipe import recipe_by_name, shipped_recipes
from pipelines.replay import journalled_recipe, with_text_parameters
from recon_core.errors import InputError, RecipeError, StreamError

CONFIG_FILE = struct.pack("<H1024s", MessageId.CONFIG_FILE, b"cartesian_fft.xml")
CLOSE = struct.pack("<H", MessageId.CLOSE)


def sized(number: MessageId, text: str) -> bytes:
    return struct.pack("<HI", number, len(text.encode())) + text.encode()


def journal(tmp_path: Path, *messages: bytes) -> Path:
    path = tmp_path / "journal.mrd"
    path.write_bytes(b"".join(messages))
    return path


def test_a_recipe_by_name(tmp_path: Path) -> None:
    path = journal(tmp_path, CONFIG_FILE, sized(MessageId.HEADER, "<x/>"), CLOSE)
    assert journalled_recipe(path) == recipe_by_name("cartesian_fft")


def test_a_recipe_in_full(tmp_path: Path) -> None:
    text = shipped_recipes()["cartesian_fft"].replace("cartesian_fft", "mine")
    assert journalled_recipe(journal(tmp_path, sized(MessageId.CONFIG_TEXT, text))).name == "mine"


def test_parameters_sent_before_the_data_count_and_words_do_not(tmp_path: Path) -> None:
    parameters = sized(MessageId.TEXT, '{"parameters": {"ImageType.part": "phase"}}')
    path = journal(tmp_path, CONFIG_FILE, sized(MessageId.TEXT, "hello"), parameters)
    wanted = recipe_by_name("cartesian_fft").with_parameters({"ImageType.part": "phase"})
    assert journalled_recipe(path) == wanted


def test_a_journal_without_a_recipe_asks_for_one(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="name one with --recipe"):
        journalled_recipe(journal(tmp_path, CLOSE))


@pytest.mark.parametrize("text", ['{"parameters": 3}', "{broken", '{"parameters": [1]}'])
def test_json_that_is_no_parameters_is_refused(text: str) -> None:
    with pytest.raises(StreamError, match="correct it"):
        with_text_parameters(recipe_by_name("cartesian_fft"), text)


def test_a_parameter_of_no_gadget_is_refused() -> None:
    with pytest.raises(RecipeError, match="a gadget of this recipe"):
        with_text_parameters(recipe_by_name("cartesian_fft"), '{"parameters": {"Missing.n": 3}}')


def test_a_config_among_the_parameters_names_another_recipe() -> None:
    text = '{"parameters": {"config": "cartesian_grappa", "customconfig": ""}}'
    assert with_text_parameters(recipe_by_name("cartesian_fft"), text).name == "cartesian_grappa"
    with pytest.raises(RecipeError, match="unheard_of"):
        with_text_parameters(recipe_by_name("auto"), '{"parameters": {"config": "unheard_of"}}')


def test_parameters_of_a_scanners_form_are_named_and_not_refused() -> None:
    recipe = with_text_parameters(recipe_by_name("auto"), '{"parameters": {"sendOriginal": true}}')
    assert recipe.notes == ("parameters of no gadget, without effect: sendOriginal",)
