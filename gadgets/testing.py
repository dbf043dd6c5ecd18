"""What every gadget has to keep to, as a kit for the tests of this package and of others."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import fields, is_dataclass
from itertools import zip_longest
from typing import Any, get_args

import ismrmrd
import msgspec
import numpy as np
import torch

from gadgets.gadget import Context, Gadget, parameters
from gadgets.records import Readouts
from recon_core.errors import InputError

RunGadget = Callable[[Gadget, Iterable[Any], Context], Iterator[Any]]
"""Runs one gadget as a recipe's only one: what the runner of `pipelines` does."""

BLOCK_SIZES = (1, 7)


def assert_gadget_conforms(
    gadget: Gadget,
    items: Sequence[Any],
    new_context: Callable[[], Context],
    *,
    run: RunGadget | None = None,
) -> None:
    """Check one gadget with a stream that makes it emit something.

    Its record is frozen, refuses unknown parameters and documents the known ones. Its output is of the types
    it emits, the same for each of two streams that run interleaved or one after the other, and the same bit
    for bit wherever readouts are cut into blocks. It survives an empty stream (nothing, or an InputError) and
    being closed early. It leaves its input as it was. With `run`, items it does not accept pass it.

    Args:
        gadget: any gadget.
        items: a stream of what it accepts.
        new_context: gives a context for a new scan.
        run: runs the gadget behind the bypass for foreign items.

    Raises:
        AssertionError: naming the law that does not hold.
    """
    before = [_frozen(item) for item in items]
    once = list(gadget(iter(items), new_context()))
    _check(bool(once), "the gadget emits something for the items given")
    emits = get_args(gadget.emits) or (gadget.emits,)
    _check(all(isinstance(result, emits) for result in once), f"everything emitted is of the types {emits}")
    _check(before == [_frozen(item) for item in items], "the input is left as it was")

    _check_record(gadget)
    _check_streams_are_apart(gadget, items, new_context, once)
    _check_ends(gadget, items, new_context)
    _check_blocks(gadget, items, new_context, once)
    if run is not None:
        _check_bypass(gadget, items, new_context, run)


def _check_record(gadget: Gadget) -> None:
    kind = type(gadget)
    for parameter in parameters(kind):
        _check(bool(parameter.about), f"parameter {parameter.name} is documented")
        _check(_raises(AttributeError, setattr, gadget, parameter.name, None), "the record is frozen")
    unknown = {"no_such_parameter": 1}
    _check(_raises(msgspec.ValidationError, msgspec.convert, unknown, kind), "unknown parameters are refused")


def _check_streams_are_apart(
    gadget: Gadget, items: Sequence[Any], new_context: Callable[[], Context], once: list[Any]
) -> None:
    again = list(gadget(iter(items), new_context()))
    _check(identical(once, again), "a second stream gives the same as the first")
    streams = gadget(iter(items), new_context()), gadget(iter(items), new_context())
    pairs = list(zip_longest(*streams))
    _check(identical(once, [a for a, _ in pairs]), "two interleaved streams do not disturb each other")
    _check(identical(once, [b for _, b in pairs]), "two interleaved streams do not disturb each other")


def _check_ends(gadget: Gadget, items: Sequence[Any], new_context: Callable[[], Context]) -> None:
    with suppress(InputError):  # an honest refusal
        _check(not list(gadget(iter(()), new_context())), "an empty stream gives nothing")
    results = gadget(iter(items), new_context())
    next(results)
    results.close()  # type: ignore[attr-defined]
    _check(next(results, None) is None, "a closed stream gives nothing more")


def _check_blocks(
    gadget: Gadget, items: Sequence[Any], new_context: Callable[[], Context], once: list[Any]
) -> None:
    for size in BLOCK_SIZES:
        results = list(gadget(recut(items, size), new_context()))
        _check(
            identical(list(recut(once, 1)), list(recut(results, 1))),
            f"readouts cut into blocks of {size} give the same, bit for bit",
        )


def _check_bypass(
    gadget: Gadget, items: Sequence[Any], new_context: Callable[[], Context], run: RunGadget
) -> None:
    foreign = ismrmrd.Waveform(), ismrmrd.Waveform()
    stream = [foreign[0], *items, foreign[1]]
    results = list(run(gadget, stream, new_context()))
    _check(results[0] is foreign[0], "what comes before and is not accepted passes first")
    passed = [result for result in results if isinstance(result, ismrmrd.Waveform)]
    _check(len(passed) == 2 and passed[1] is foreign[1], "everything that is not accepted passes, in order")


def recut(items: Iterable[Any], size: int) -> Iterator[Any]:
    """The same stream with its readouts in blocks of at most `size`."""
    for item in items:
        if isinstance(item, Readouts):
            for start in range(0, len(item), size):
                yield item.select(slice(start, start + size))
        else:
            yield item


def identical(a: Any, b: Any) -> bool:
    """Whether two results agree bit for bit, arrays and records by what they hold."""
    return bool(_frozen(a) == _frozen(b))


def _frozen(value: Any) -> Any:
    """A value that can be compared."""
    if isinstance(value, torch.Tensor):
        array = value.detach().resolve_conj().cpu().contiguous().numpy()
        return str(array.dtype), array.shape, array.tobytes()
    if isinstance(value, np.ndarray | np.void):
        return str(value.dtype), value.shape, value.tobytes()
    if is_dataclass(value) and not isinstance(value, type):
        return type(value), [_frozen(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, list | tuple):
        return [_frozen(item) for item in value]
    return value


def _raises(error: type[Exception], function: Callable[..., Any], *arguments: Any) -> bool:
    try:
        function(*arguments)
    except error:
        return True
    return False


def _check(holds: bool, law: str) -> None:
    if not holds:
        raise AssertionError(law)
