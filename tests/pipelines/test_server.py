"""The server's conversation with a client that means well, in all the ways clients do."""

import json
import logging
import socket
from pathlib import Path

import ismrmrd
import numpy as np
import pytest

from pipelines.messages import Response
from pipelines.recipe import recipe_from_toml, shipped_recipes
from pipelines.reconstruction import reconstruct_scan
from pipelines.server import Server
from recon_core.errors import SessionError
from tests.pipelines import wire
from tests.pipelines.serving import content, contents, offline, serving
from tests.pipelines.short_scan import SCAN
from tests.pipelines.wire import CLOSE, RawClient

CONFIG, HEADER, LINES = SCAN[0], SCAN[1], SCAN[2:-1]
SHOW = 'name = "show"\nabout = "images to images"\nstart = "images"\n[[gadget]]\nuse = "ImageType"\n'
XML = """<?xml version="1.0"?>
<gadgetronStreamConfiguration xmlns="http://gadgetron.org/gadgetron">
  <gadget><name>n</name><classname>NoiseAdjust</classname></gadget>
  <gadget><name>a</name><classname>Accumulate</classname></gadget>
  <gadget><name>f</name><classname>FourierReconstruction</classname>
    <property><name>combine</name><value>rss</value></property></gadget>
</gadgetronStreamConfiguration>"""
RSS = """
name = "in CONFIG_TEXT"
about = "the same as XML"
[[gadget]]
use = "NoiseAdjust"
[[gadget]]
use = "Accumulate"
[[gadget]]
use = "FourierReconstruction"
with = { combine = "rss" }
"""


def answered(server: Server, *parts: bytes) -> list[object]:
    with RawClient(server.address) as client:
        client.send(*parts)
        return client.messages()


def pixels(images: list[object]) -> list[bytes]:
    return [image.data.tobytes() for image in images if isinstance(image, ismrmrd.Image)]


def test_a_scan_gives_its_images_and_close(server: Server, expected: list[object]) -> None:
    assert contents(answered(server, *SCAN)) == expected  # type: ignore[arg-type]


def test_images_come_as_soon_as_their_last_line(server: Server) -> None:
    scan = wire.scan(n_slices=2)
    first, second = offline(scan)
    with RawClient(server.address) as client:
        client.send(*scan[: 2 + wire.N])
        received = b""
        while len(received) < second.data.nbytes:  # comes though the client has not said CLOSE
            received += client.socket.recv(1 << 16)
        client.send(*scan[2 + wire.N :])
        while piece := client.socket.recv(1 << 16):
            received += piece
    *images, _ = wire.messages(received)
    assert contents(images) == contents([first, second])


def test_a_configuration_and_close_is_answered_by_close(server: Server) -> None:
    assert answered(server, CONFIG, CLOSE) == []
    assert answered(server, CLOSE) == []


@pytest.mark.parametrize("place", [0, 1, 2, 5, len(SCAN) - 1])
def test_a_query_is_answered_wherever_it_comes(server: Server, expected: list[object], place: int) -> None:
    *others, last = answered(server, *SCAN[:place], wire.query("health", 2**63), *SCAN[place:])
    (answer,) = (message for message in [*others, last] if isinstance(message, Response))
    assert answer == Response(2**63, "ok")
    assert contents([m for m in [*others, last] if isinstance(m, ismrmrd.Image)]) == expected


def test_queries_say_what_the_server_is(server: Server) -> None:
    questions = ["reconstream::version", "gadgetron::version", "recipes", "health", "who?", ""]
    answers = answered(server, *(wire.query(text, n) for n, text in enumerate(questions)), CLOSE)
    assert [answer.number for answer in answers] == list(range(len(questions)))  # type: ignore[attr-defined]
    version, gadgetron, recipes, health, *unknown = (answer.answer for answer in answers)  # type: ignore[attr-defined]
    assert version
    assert gadgetron.endswith(version)
    assert recipes.split("\n") == list(shipped_recipes())
    assert (health, *unknown) == ("ok", "Unknown query", "Unknown query")


@pytest.mark.parametrize("name", ["cartesian_fft.xml", "cartesian_fft.toml"])
def test_an_ending_of_the_recipes_name_is_ignored(server: Server, expected: list[object], name: str) -> None:
    assert contents(answered(server, wire.config_file(name), *SCAN[1:])) == expected  # type: ignore[arg-type]


def test_nul_after_text_is_ignored_as_fire_appends_it(server: Server) -> None:
    parameters = wire.prefixed(5, '{"parameters": {"ImageType.part": "phase"}}\0')
    config, header = wire.prefixed(2, RSS + "\0"), wire.prefixed(3, wire.header_xml() + b"\0\0")
    assert pixels(answered(server, CONFIG, header, parameters, *LINES, CLOSE)) == pixels(
        offline(SCAN, ImageType__part="phase")  # type: ignore[arg-type]
    )
    assert len(answered(server, config, header, *LINES, CLOSE)) == 1


def test_a_recipe_is_taken_as_text_in_toml_and_in_xml(server: Server) -> None:
    by_toml = answered(server, wire.prefixed(2, RSS), *SCAN[1:])
    by_xml = answered(server, wire.prefixed(2, XML), *SCAN[1:])
    recipe = recipe_from_toml(RSS, "here")
    alone = list(reconstruct_scan(recipe, wire.header_xml(), wire.messages(b"".join(LINES))))
    assert pixels(by_toml) == pixels(by_xml) == pixels(alone)  # type: ignore[arg-type]
    assert len(alone) == 1


@pytest.mark.parametrize("place", [1, 2])
def test_parameters_are_taken_as_json_text_before_the_data(server: Server, place: int) -> None:
    text = json.dumps({"version": "1", "parameters": {"ImageType.part": "phase"}})
    images = answered(server, *SCAN[:place], wire.prefixed(5, text), *SCAN[place:])
    assert contents(images) == contents(offline(SCAN, ImageType__part="phase"))  # type: ignore[arg-type]


def test_other_text_is_logged(
    server: Server, expected: list[object], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "reconstream")
    early, late = wire.prefixed(5, "good morning"), wire.prefixed(5, "{almost done}")
    assert contents(answered(server, CONFIG, early, *SCAN[1:4], late, *SCAN[4:])) == expected  # type: ignore[arg-type]
    assert "client: good morning" in caplog.messages
    assert "client: {almost done}" in caplog.messages


def test_waveforms_between_readouts_change_no_image(server: Server, expected: list[object]) -> None:
    ecg = wire.waveform(np.arange(40, dtype=np.uint32).reshape(4, 10))
    interleaved = [part for line in LINES for part in (ecg, line)]
    assert contents(answered(server, CONFIG, HEADER, *interleaved, ecg, CLOSE)) == expected  # type: ignore[arg-type]


def test_images_are_taken_by_recipes_that_start_from_images(server: Server) -> None:
    complex_image = np.full((1, 1, 4, 6), 3 + 4j, "<c8")
    meta = "<ismrmrdMeta><meta><name>Own</name><value>kept</value></meta></ismrmrdMeta>"
    parts = [wire.prefixed(2, SHOW), HEADER, *[wire.image(complex_image, 7, meta)] * 3, CLOSE]
    images = answered(server, *parts)
    assert len(images) == 3
    for image in images:
        assert isinstance(image, ismrmrd.Image)
        assert np.array_equal(image.data, np.full((1, 1, 4, 6), 5, np.float32))
        assert image.meta["Own"] == "kept"
        assert image.meta["Reconstream.Recipe"] == "show"


def test_images_pass_through_recipes_for_readouts_untouched(server: Server, expected: list[object]) -> None:
    passing = np.arange(-12, 12).astype("<i4").reshape(1, 1, 4, 6)
    first, second = answered(server, CONFIG, HEADER, wire.image(passing, 4), *SCAN[2:])
    assert np.array_equal(first.data, passing)  # type: ignore[attr-defined]
    assert [content(second)] == expected  # type: ignore[arg-type]


def test_a_session_says_how_the_image_was_made(server: Server) -> None:
    (image,) = answered(server, *SCAN)
    assert isinstance(image, ismrmrd.Image)
    assert image.meta["Reconstream.Recipe"] == "cartesian_fft"
    assert len(image.meta["Reconstream.RecipeHash"]) == 64
    assert image.meta["Reconstream.Version"]


def test_only_loopback_is_listened_on_unless_told() -> None:
    for host in ("0.0.0.0", "192.168.0.1", "example.org", ""):
        with pytest.raises(SessionError, match="expected a loopback address"):
            Server(host, 0)
    for host in ("127.0.0.1", "localhost"):
        with Server(host, 0) as running:
            assert running.address[0] == "127.0.0.1"
    with Server("0.0.0.0", 0, allow_remote=True) as running:
        assert RawClient(("127.0.0.1", running.address[1])).socket.close() is None


def test_a_port_that_is_taken_is_named_with_a_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SessionError, match=rf":{port}: .* in use; .* choose another$"):
            Server(port=port)


def test_the_noise_of_one_scan_whitens_the_next_of_its_study(tmp_path: Path) -> None:
    noise = wire.acquisition(
        np.random.default_rng(1).standard_normal((wire.N_COILS, 512)).astype(np.complex64), flags=1 << 18
    )
    own = "<measurementInformation><measurementID>first</measurementID></measurementInformation>"
    needs = (
        "<measurementInformation><measurementID>second</measurementID><measurementDependency>"
        "<dependencyType>Noise</dependencyType><measurementID>first</measurementID>"
        "</measurementDependency></measurementInformation>"
    )
    with serving(tmp_path) as server:
        (first,) = answered(
            server, CONFIG, wire.prefixed(3, wire.header_xml(extra=own)), noise, *LINES, CLOSE
        )
        (second,) = answered(server, CONFIG, wire.prefixed(3, wire.header_xml(extra=needs)), *LINES, CLOSE)
    assert pixels([first]) == pixels([second])
    assert "Reconstream.Note" not in second.meta  # type: ignore[attr-defined]


def test_the_prefix_of_errors_is_the_sites_choice() -> None:
    with Server(port=0, error_prefix="FATAL: ") as server, RawClient(server.address) as client:
        client.send(wire.config_file("no such recipe"))
        (error,) = client.messages()
        assert error.text.startswith("FATAL: recipe 'no such recipe': expected one of")
