"""Bad input: one clear error and CLOSE for who sent it, nothing for anybody else, and the journal kept."""

import re
import resource
import struct
from collections.abc import Callable

import numpy as np
import pytest

from pipelines.server import Server
from tests.pipelines import wire
from tests.pipelines.serving import contents, offline
from tests.pipelines.short_scan import CONFIG, HEADER, LINES, RECIPE, SCAN, line
from tests.pipelines.test_stream import LIES, PARTS
from tests.pipelines.wire import CLOSE, RawClient

Refused = Callable[..., str]


@pytest.mark.parametrize("n_messages", range(len(SCAN)))
def test_a_stream_cut_between_messages(refused: Refused, n_messages: int) -> None:
    assert "expected CLOSE (id 4) at the end" in refused(*SCAN[:n_messages], end=True)


@pytest.mark.parametrize("kind", sorted(set(PARTS) - {"response", "error"}))
def test_a_stream_cut_inside_a_message(refused: Refused, kind: str) -> None:
    before = {"config": [], "config text": [], "query": [], "text": [CONFIG], "header": [CONFIG]}
    part = PARTS[kind][: len(PARTS[kind]) // 2]
    error = refused(*before.get(kind, [CONFIG, HEADER]), part, end=True)
    assert re.search(r"byte \d+: expected \d+ more bytes of a message", error)


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("header", "Header"),
        ("text", "Text"),
        ("acquisition", "Readouts"),
        ("image", "Image"),
        ("waveform", "Waveform"),
        ("response", "Response"),
        ("error", "Text"),
    ],
)
def test_a_wrong_first_message(refused: Refused, kind: str, name: str) -> None:
    error = refused(PARTS[kind])
    assert f"expected a configuration (id 1 or 2) or a query (id 6) first, got {name};" in error


@pytest.mark.parametrize("n_messages", [0, 1, 2, 5])
def test_an_unknown_id(refused: Refused, n_messages: int) -> None:
    error = refused(*SCAN[:n_messages], struct.pack("<H", 4711), bytes(1000))
    assert re.search("expected a message id .*1008 ACQUISITION.* got 4711", error)


@pytest.mark.parametrize("kind", LIES)
def test_a_length_that_cannot_be_true(refused: Refused, kind: str) -> None:
    before = {"config text": [], "query": [], "header": [CONFIG], "text": [CONFIG]}.get(
        kind, [CONFIG, HEADER]
    )
    resident_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    error = refused(*before, LIES[kind], bytes(1000))
    assert re.search(r"of at most \d+ bytes, got a length of \d+", error)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - resident_kb < 100_000


def test_data_before_the_header(refused: Refused) -> None:
    for kind in ("acquisition", "waveform", "image"):
        assert "expected the MRD header (id 3) before any data" in refused(CONFIG, PARTS[kind])


@pytest.mark.parametrize("n_lines", [0, 3])
def test_two_headers(refused: Refused, n_lines: int) -> None:
    error = refused(CONFIG, HEADER, *LINES[:n_lines], HEADER, *LINES[n_lines:], CLOSE)
    assert re.search("expected data .*, got Header; send messages in MRD's order", error)


def test_two_configurations(refused: Refused) -> None:
    for config in (CONFIG, PARTS["config text"]):
        assert "expected the MRD header (id 3) before any data, got Config" in refused(CONFIG, config)


GOOD_XML = wire.header_xml().decode()


BAD_HEADERS = {
    "DOCTYPE": (GOOD_XML.replace("?>", "?><!DOCTYPE a [<!ENTITY b 'c'>]>").encode(), "no document type"),
    "UTF-16": (GOOD_XML.encode("utf-16"), "UTF-8"),
    "Latin-1": (GOOD_XML.replace("cartesian", "cart\u00e9sian").encode("latin-1"), "UTF-8, got byte 0xe9"),
    "empty": (b"", "XML, got nothing"),
    "cut": (GOOD_XML[:100].encode(), "well-formed XML"),
    "other XML": (b"<a/>", "the root element <ismrmrdHeader>, got <a>"),
    "no number": (
        GOOD_XML.replace("<x>8</x>", "<x>many</x>").encode(),
        "/encoding/encodedSpace/matrixSize/x to be a whole number, got 'many'",
    ),
}


@pytest.mark.parametrize("kind", BAD_HEADERS)
def test_a_bad_header_is_refused_before_any_data_comes(refused: Refused, kind: str) -> None:
    xml, said = BAD_HEADERS[kind]
    assert f"ERROR MRD header: expected {said}" in refused(CONFIG, wire.prefixed(3, xml))


UNFIT_HEADERS = {
    "no encoding": (GOOD_XML.replace("encoding>", "other>"), "got 0 encodings"),
    "no samples": (GOOD_XML.replace("<x>8</x>", "<x>0</x>"), "expected matrix sizes of at least 1"),
    "huge": (re.sub("<(.)>8</.>", r"<\1>65535</\1>", GOOD_XML), "expected images in progress of at most"),
    "radial": (GOOD_XML.replace("cartesian", "radial"), "expected a cartesian trajectory, got 'radial'"),
}


@pytest.mark.parametrize("kind", UNFIT_HEADERS)
def test_a_header_that_does_not_fit_the_recipe(refused: Refused, kind: str) -> None:
    xml, said = UNFIT_HEADERS[kind]
    assert said in refused(CONFIG, wire.prefixed(3, xml), *LINES[:2])


def test_bad_utf_8(refused: Refused) -> None:
    bad = b"caf\xe9 bad"
    assert "expected a recipe name in UTF-8" in refused(wire.config_file(bad))
    assert "expected a configuration in UTF-8" in refused(wire.prefixed(2, bad))
    assert "expected a text in UTF-8" in refused(CONFIG, wire.prefixed(5, bad))
    assert "expected a query in UTF-8" in refused(wire.query(bad))
    image = wire.image(np.zeros((1, 1, 1, 1), "<f4"), 5, bad)
    assert "expected image attributes in UTF-8" in refused(CONFIG, HEADER, image)


@pytest.mark.parametrize("name", ["nothing_of_the_kind", "../x", "/etc/passwd", "", "__init__", "*"])
def test_an_unknown_recipe(refused: Refused, name: str) -> None:
    assert f"recipe '{name}': expected one of " in refused(wire.config_file(name), HEADER)
    assert "cartesian_fft" in refused(wire.config_file(name))


BAD_RECIPES = {
    "bad TOML": ("name = ", "recipe in CONFIG_TEXT: expected name, about and"),
    "deep TOML": ("a = " + "[" * 50_000, "recipe in CONFIG_TEXT: expected name, about and"),
    "unknown gadget": (
        RECIPE.replace("ImageType", "os.system"),
        "gadget 1: expected one of .*, got 'os.system'",
    ),
    "bad parameter": (
        RECIPE + "with = { part = 'half' }",
        "ImageType.*expected part to be .* got 'half'",
    ),
    "XML with DOCTYPE": ("<!DOCTYPE a><a/>", "without a document type"),
    "bad XML": ("<a>", "expected well-formed XML"),
}


@pytest.mark.parametrize("kind", BAD_RECIPES)
def test_a_recipe_that_cannot_run(refused: Refused, kind: str) -> None:
    text, said = BAD_RECIPES[kind]
    assert re.search(said, refused(wire.prefixed(2, text)))


BAD_PARAMETERS = {
    "bad JSON": ("{", 'expected JSON {"parameters"'),
    "a list": ('{"parameters": [1]}', 'expected JSON {"parameters"'),
    "deep": ('{"parameters": ' + "[" * 50_000, 'expected JSON {"parameters"'),
    "bad value": ('{"parameters": {"ImageType.part": "half"}}', "expected part to be one of magnitude, "),
    "no such gadget": ('{"parameters": {"Nothing.part": 1}}', "with a gadget of this recipe"),
}


@pytest.mark.parametrize("kind", BAD_PARAMETERS)
def test_bad_parameters(refused: Refused, kind: str) -> None:
    text, said = BAD_PARAMETERS[kind]
    assert said in refused(CONFIG, HEADER, wire.prefixed(5, text), LINES[0])


WRONG_READOUTS: dict[str, tuple[list[bytes], str]] = {
    "line beyond": ([line(wire.N)], f"kspace_encode_step_1 between .* 0 and {wire.N - 1}, got {wire.N}"),
    "line far beyond": ([line(65535)], "expected kspace_encode_step_1 between .*, got 65535"),
    "slice beyond": ([line(1, slice=1)], "expected slice between its encoding limits 0 and 0, got 1"),
    "no such encoding": ([line(1, encoding_space_ref=3)], "expected an encoding number 3"),
    "more channels": ([line(1, n_coils=3)], "readouts of 2 channels as the scan began, got 3"),
    "fewer samples": ([line(1, n=6)], "readouts of 8 samples as the scan began, got 6"),
    "no channels": ([line(1, n_coils=0)], "readouts of 2 channels as the scan began, got 0"),
    "no samples": ([line(1, n=0)], "readouts of 8 samples as the scan began, got 0"),
    "NaN": ([line(1, value=complex("nan")), *LINES[2:], CLOSE], "NaN or Inf .*kspace_encode_step_1 1"),
    "Inf": ([line(1, value=complex(0, np.inf)), *LINES[2:], CLOSE], "NaN or Inf .*kspace_encode_step_1 1"),
    "compressed": ([line(1, flags=1 << 52)], "expected uncompressed samples"),
}


@pytest.mark.parametrize("kind", WRONG_READOUTS)
def test_readouts_that_do_not_fit_the_scan(refused: Refused, kind: str) -> None:
    wrong, said = WRONG_READOUTS[kind]
    assert re.search(said, refused(CONFIG, HEADER, LINES[0], *wrong))


def test_a_failing_gadget_is_named_with_recipe_and_scan_counter(refused: Refused) -> None:
    error = refused(CONFIG, HEADER, *LINES[:3], line(6, n_coils=5))
    assert re.search("ERROR recipe 'cartesian_fft', gadget Accumulate: expected .* at scan counter 7;", error)


def test_no_data_at_all(refused: Refused) -> None:
    assert "expected data after the one header, got Close" in refused(CONFIG, HEADER, CLOSE)


def test_lines_that_make_no_image(refused: Refused) -> None:
    error = refused(CONFIG, HEADER, LINES[0], CLOSE)
    assert "expected imaging readouts, got no readouts that make an image" in error


def test_what_was_complete_before_an_error_is_sent_before_it(server: Server) -> None:
    scan = wire.scan(n_slices=2)
    first, _ = offline(scan)
    with RawClient(server.address) as client:
        client.send(*scan[: 4 + wire.N], line(99))
        image, error = client.messages()
    assert contents([image]) == contents([first])
    assert "got 99" in error.text


def noted(server: Server, *parts: bytes) -> list[str]:
    """What the one image of these messages says of itself."""
    with RawClient(server.address) as client:
        client.send(CONFIG, HEADER, *parts, CLOSE)
        (image,) = client.messages()
    notes = image.meta["Reconstream.Note"]
    return notes if isinstance(notes, list) else [notes]


NOISE = wire.acquisition(
    np.random.default_rng(7).standard_normal((wire.N_COILS, 512)).astype(np.complex64), flags=1 << 18
)


@pytest.mark.parametrize(
    ("parts", "note"),
    [
        (LINES, "not noise-whitened: no noise scan"),
        (
            [NOISE, *LINES[:-1], line(wire.N - 1)],
            "no last-in-slice flag: reconstructed when the stream ended",
        ),
        ([NOISE, *LINES[:6]], f"2 of {wire.N} lines missing"),
        ([NOISE, *LINES[:3], *LINES[4:]], f"1 of {wire.N} lines missing"),
    ],
    ids=["no noise scan", "no last-in-slice flag", "interrupted", "missing line"],
)
def test_what_is_no_error_is_reconstructed_and_said(
    server: Server, parts: list[bytes], note: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert note in noted(server, *parts)
    assert note in caplog.text


def test_a_whole_scan_with_noise_has_nothing_to_say(server: Server) -> None:
    with RawClient(server.address) as client:
        client.send(CONFIG, HEADER, NOISE, *LINES, CLOSE)
        (image,) = client.messages()
    assert "Reconstream.Note" not in image.meta
