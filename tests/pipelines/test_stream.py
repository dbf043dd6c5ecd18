"""The stream: one meaning however it is cut, the reference's meaning, and no memory for lies."""

import io
import itertools
import struct
import tracemalloc
from collections.abc import Iterator, Sequence
from typing import Any

import ismrmrd
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ismrmrd.serialization import ConfigFile, ConfigText, ProtocolDeserializer, ProtocolSerializer

from gadgets.records import Readouts
from pipelines import chunks as chunks_module
from pipelines import stream
from pipelines.chunks import HEADROOM, Chunk
from pipelines.client import serialized
from pipelines.limits import Limits
from pipelines.stream import MessageReader
from recon_core.errors import SessionError, StreamError
from tests.pipelines import wire

PIXEL_TYPES: dict[int, str] = {
    1: "<u2",
    2: "<i2",
    3: "<u4",
    4: "<i4",
    5: "<f4",
    6: "<f8",
    7: "<c8",
    8: "<c16",
}
META = "<ismrmrdMeta><meta><name>SeriesDescription</name><value>\u00e9t\u00e9</value></meta></ismrmrdMeta>"


def noise(*shape: int) -> npt.NDArray[np.complex64]:
    samples = np.random.default_rng(sum(shape)).standard_normal((*shape, 2)).astype(np.float32)
    return np.asarray(samples.view(np.complex64)[..., 0])


EVERY_KIND = b"".join(
    [
        wire.query("health", 3),
        wire.config_file("cartesian_fft.xml"),
        wire.prefixed(2, "<configuration/>\0"),
        wire.prefixed(3, wire.header_xml() + b"\0"),
        wire.prefixed(5, '{"parameters": {}}\0'),
        *(wire.acquisition(noise(2, 8), scan_counter=n) for n in range(5)),
        wire.acquisition(noise(2, 6), scan_counter=5),
        wire.waveform(np.arange(12, dtype=np.uint32).reshape(3, 4), time_stamp=7),
        wire.acquisition(noise(3, 6), np.arange(12, dtype=np.float32).reshape(6, 2), scan_counter=6),
        wire.acquisition(noise(3, 6), np.arange(12, dtype=np.float32).reshape(6, 2), scan_counter=7),
        wire.acquisition(noise(0, 8), scan_counter=8),
        wire.acquisition(noise(2, 0), scan_counter=9),
        *(
            wire.image(np.arange(-12, 12).astype(dtype).reshape(2, 1, 3, 4), number, META)
            for number, dtype in PIXEL_TYPES.items()
        ),
        wire.image(np.zeros((1, 1, 0, 0), "<f4"), 5),
        struct.pack("<HQQ", 7, 3, 2) + b"ok",
        struct.pack("<HQ", 8, 4) + b"oops",
        wire.CLOSE,
    ]
)


def content(message: Any) -> Any:
    """A message as something that compares bit for bit."""
    if isinstance(message, Readouts):
        return [
            (head.tobytes(), data.shape, data.tobytes(), trajectory.shape, trajectory.tobytes())
            for head, data, trajectory in zip(message.headers, message.data, message.trajectory, strict=True)
        ]
    if isinstance(message, ismrmrd.Image):
        return bytes(message.getHead()), dict(message.meta), message.data.shape, message.data.tolist()
    if isinstance(message, ismrmrd.Waveform):
        return message.to_bytes()
    return message


def contents(chunks: Iterator[Chunk]) -> list[Any]:
    return [content(message) for message in wire.single(MessageReader(chunks))]


@settings(deadline=None)
@given(st.lists(st.integers(1, 3000), max_size=50))
def test_any_cutting_of_the_bytes_gives_the_same_messages(sizes: list[int]) -> None:
    assert contents(wire.chunks(EVERY_KIND, sizes)) == contents(wire.chunks(EVERY_KIND))


@pytest.mark.parametrize("size", [1, 7, 341, 4096])
def test_cuts_between_buffers_change_nothing(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks_module, "CAPACITY", size + chunks_module._LEAST_ROOM - 1)
    assert contents(wire.chunks(EVERY_KIND, [size] * len(EVERY_KIND))) == contents(wire.chunks(EVERY_KIND))


@pytest.mark.parametrize("size", [5000, 700_000])
def test_messages_larger_than_the_headroom_arrive_whole(size: int) -> None:
    many = b"".join(wire.acquisition(noise(64, 2048), scan_counter=n) for n in range(3))
    large = many + wire.image(noise(1, 1, 512, 512), 7) + wire.prefixed(5, "x" * (HEADROOM - 1)) + wire.CLOSE
    assert len(large) > 3 * HEADROOM
    found = list(MessageReader(wire.fresh_chunks(large, size)))
    assert [content(message) for message in wire.single(found)] == contents(wire.chunks(large))
    assert found[0].data.tobytes() == noise(64, 2048).tobytes()


def test_the_reader_agrees_with_the_reference_serializer() -> None:
    trajectory = np.arange(16, dtype=np.float32).reshape(8, 2)
    acquisitions = [ismrmrd.Acquisition.from_array(noise(4, 8), trajectory, scan_counter=n) for n in range(3)]
    image = ismrmrd.Image.from_array(noise(2, 3, 4), image_series_index=5)
    image.meta = {"SeriesDescription": "a < b", "Values": ["1", "2"]}
    waveform = ismrmrd.Waveform.from_array(np.arange(6, dtype=np.uint32).reshape(2, 3), waveform_id=1)
    with io.BytesIO() as file:
        with ProtocolSerializer(file) as serializer:
            for item in (ConfigFile("fft"), ConfigText("<a/>"), "hello", *acquisitions, image, waveform):
                serializer.serialize(item)
        found = wire.messages(file.getvalue())
    assert found[:3] == [stream.ConfigFile("fft"), stream.ConfigText("<a/>"), stream.Text("hello")]
    for readout, acquisition in zip(found[3:6], acquisitions, strict=True):
        assert readout.headers.tobytes() == bytes(acquisition.getHead())
        assert np.array_equal(readout.data[0], acquisition.data)
        assert np.array_equal(readout.trajectory[0], acquisition.traj)
    assert content(found[6]) == content(image)
    assert content(found[7]) == content(waveform)
    assert found[8] == stream.Close()


def test_the_reference_deserializer_agrees_with_serialized_readouts() -> None:
    parts = [wire.acquisition(noise(3, 6), np.ones((6, 2), np.float32), scan_counter=n) for n in range(4)]
    (readouts,) = MessageReader(wire.chunks(b"".join(parts)))
    assert serialized(readouts) == b"".join(parts)
    found = list(ProtocolDeserializer(io.BytesIO(serialized(readouts) + wire.CLOSE)).deserialize())
    assert [a.scan_counter for a in found] == [0, 1, 2, 3]
    assert all(np.array_equal(a.data, noise(3, 6)) and np.all(a.traj == 1) for a in found)


def test_neighbouring_readouts_of_one_shape_come_as_one_block() -> None:
    shapes = [(2, 8)] * 5 + [(2, 6)] * 3 + [(3, 6)] * 2
    parts = [wire.acquisition(noise(*shape), scan_counter=n) for n, shape in enumerate(shapes)]
    blocks = list(MessageReader(wire.chunks(b"".join(parts))))
    assert [block.data.shape for block in blocks] == [(5, 2, 8), (3, 2, 6), (2, 3, 6)]
    assert [int(n) for block in blocks for n in block.headers["scan_counter"]] == list(range(10))


@pytest.mark.parametrize("number", PIXEL_TYPES)
def test_image_pixels_are_read_in_their_own_type(number: int) -> None:
    pixels = np.arange(24).astype(PIXEL_TYPES[number]).reshape(2, 1, 3, 4)
    (found,) = wire.messages(wire.image(pixels, number, META))
    assert np.array_equal(found.data, pixels)
    assert found.matrix_size == (4, 3, 1)
    assert found.meta["SeriesDescription"] == "\u00e9t\u00e9"


def ends(parts: Sequence[bytes]) -> set[int]:
    return set(itertools.accumulate(len(part) for part in parts))


PARTS = {
    "config": wire.config_file("cartesian_fft"),
    "config text": wire.prefixed(2, "name = 'x'"),
    "header": wire.prefixed(3, wire.header_xml()),
    "text": wire.prefixed(5, "hello"),
    "query": wire.query("health"),
    "acquisition": wire.acquisition(noise(2, 4), np.ones((4, 1), np.float32)),
    "image": wire.image(np.zeros((1, 1, 2, 2), "<f4"), 5, META),
    "waveform": wire.waveform(np.zeros((2, 3), np.uint32)),
    "response": struct.pack("<HQQ", 7, 3, 2) + b"ok",
    "error": struct.pack("<HQ", 8, 4) + b"oops",
}


@pytest.mark.parametrize("kind", PARTS)
def test_a_stream_cut_inside_a_message_is_refused_at_any_byte(kind: str) -> None:
    part = PARTS[kind]
    assert len(wire.messages(part)) == 1
    for n_bytes in range(1, len(part)) if len(part) < 500 else (1, 2, 3, 6, 300, len(part) - 1):
        with pytest.raises(StreamError, match=r"^stream, byte \d+: expected \d+ more bytes of a message"):
            wire.messages(part[:n_bytes])


def test_the_offset_in_an_error_is_that_of_the_byte() -> None:
    start = b"".join(PARTS.values())
    for size in (100, 100_000):
        with pytest.raises(StreamError, match=f"^stream, byte {len(start)}: expected a message id"):
            list(MessageReader(wire.fresh_chunks(start + struct.pack("<H", 4711), size)))


LIES = {
    "config text": struct.pack("<HI", 2, 2**32 - 1),
    "header": struct.pack("<HI", 3, 2**32 - 1),
    "text": struct.pack("<HI", 5, 2**32 - 1),
    "query": wire.query("", length=2**62),
    "response": struct.pack("<HQQ", 7, 0, 2**62),
    "error": struct.pack("<HQ", 8, 2**62),
    "acquisition": wire.acquisition(noise(1, 1), number_of_samples=65535, active_channels=65535),
    "trajectory": wire.acquisition(noise(1, 1), number_of_samples=65535, trajectory_dimensions=65535),
    "waveform": struct.pack("<HH6xQIIIHHfH2x", 1026, 0, 0, 0, 0, 0, 65535, 65535, 1, 0),
    "image": struct.pack("<HHHQI3H3fH158xIQ", 1022, 1, 8, 0, 0, *[65535] * 3, 1, 1, 1, 65535, 0, 0),
    "image attributes": struct.pack("<HHHQI3H3fH158xIQ", 1022, 1, 5, 0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 2**62),
}


@pytest.mark.parametrize("kind", LIES)
def test_a_length_beyond_the_limit_is_refused_before_memory_is_taken(kind: str) -> None:
    given = list(wire.fresh_chunks(LIES[kind] + bytes(1000), 4000))
    tracemalloc.start()
    try:
        with pytest.raises(StreamError, match=r"of at most \d+ bytes, got a length of \d+"):
            list(MessageReader(given))
        assert tracemalloc.get_traced_memory()[1] < 2 * HEADROOM
    finally:
        tracemalloc.stop()


def test_a_long_message_within_the_limit_takes_memory_only_as_it_arrives() -> None:
    given = list(wire.fresh_chunks(struct.pack("<HI", 5, 500 << 20) + bytes(5000), 6000))
    tracemalloc.start()
    try:
        with pytest.raises(StreamError, match="more bytes of a message"):
            list(MessageReader(given, Limits(text_bytes=1 << 30)))
        assert tracemalloc.get_traced_memory()[1] < 2 * HEADROOM
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "kind", ["a recipe name", "a configuration", "a text", "a query", "image attributes"]
)
def test_bad_utf_8_is_refused_with_its_place(kind: str) -> None:
    bad = b"caf\xe9 bad"
    message = {
        "a recipe name": wire.config_file(bad),
        "a configuration": wire.prefixed(2, bad),
        "a text": wire.prefixed(5, bad),
        "a query": wire.query(bad),
        "image attributes": wire.image(np.zeros((1, 1, 1, 1), "<f4"), 5, bad),
    }[kind]
    with pytest.raises(StreamError, match=f"^stream, byte 9: expected {kind} in UTF-8"):
        wire.messages(wire.prefixed(5, "abc") + message)


@pytest.mark.parametrize(
    "attributes",
    [
        "nonsense",
        "<a/>",
        "<ismrmrdMeta>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]><ismrmrdMeta/>",
        "<ismrmrdMeta><meta/></ismrmrdMeta>",
    ],
)
def test_image_attributes_that_are_no_meta_are_refused(attributes: str) -> None:
    with pytest.raises(StreamError, match="expected image attributes as <ismrmrdMeta>"):
        wire.messages(wire.image(np.zeros((1, 1, 1, 1), "<f4"), 5, attributes))


def test_an_unknown_pixel_type_is_refused() -> None:
    with pytest.raises(StreamError, match=r"expected an image data type of .* got 99"):
        wire.messages(wire.image(np.zeros((1, 1, 1, 1), "<f4"), 99))


@pytest.mark.parametrize("flag", [53, 54])
def test_compressed_readouts_are_refused_with_the_remedy(flag: int) -> None:
    compressed = wire.acquisition(noise(2, 8), flags=1 << (flag - 1), scan_counter=12)
    with pytest.raises(StreamError, match=r"scan counter 12.*switch the sender's compression off"):
        wire.messages(compressed)


def test_a_compressed_readout_among_others_is_refused() -> None:
    parts = [wire.acquisition(noise(2, 8), flags=flags) for flags in (0, 0, 1 << 52, 0)]
    with pytest.raises(StreamError, match="compressed"):
        wire.messages(b"".join(parts))


@pytest.mark.parametrize("number", [0, 9, 1023, 1024, 1030, 1050, 65535])
def test_an_unknown_id_is_refused_with_the_known_ones(number: int) -> None:
    with pytest.raises(StreamError, match=f"1008 ACQUISITION.*got {number}"):
        wire.messages(struct.pack("<H", number) + bytes(100))


def test_nothing_is_read_after_close() -> None:
    assert wire.messages(wire.CLOSE + b"anything") == [stream.Close()]


def test_an_empty_stream_has_no_messages() -> None:
    assert wire.messages(b"") == []


def test_a_message_that_trickles_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(stream, "monotonic", lambda: float(next(clock)))
    trickle = wire.chunks(wire.prefixed(5, "x" * 100), [1] * 106)
    with pytest.raises(SessionError, match=r"expected a whole message within 30 s, got \d\d bytes"):
        list(MessageReader(trickle))


def test_a_large_message_is_given_the_time_its_bytes_need(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(stream, "monotonic", lambda: float(next(clock)))
    large = wire.image(np.zeros((1, 1, 5000, 2500), "<f4"), 5)  # 50 MB: 80 s
    (found,) = MessageReader(wire.chunks(large, [700_000] * 72))
    assert found.data.shape == (1, 1, 5000, 2500)
