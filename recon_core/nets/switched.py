"""Networks some of whose parameters belong to one anatomy each, chosen by name."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator

import torch

from recon_core.errors import InputError


class PerAnatomy(torch.nn.ModuleDict):
    """One module for each anatomy, all made alike."""

    def __init__(self, make: Callable[[], torch.nn.Module], anatomies: Iterable[str]) -> None:
        super().__init__()
        self._make = make
        for anatomy in anatomies:
            self.add(anatomy)

    def add(self, anatomy: str) -> None:
        self[anatomy] = self._make()


class SwitchedNetwork(torch.nn.Module):
    """A network with a switch: anatomy a is reconstructed by the shared parameters and those of a alone.

    What belongs to an anatomy is in the `PerAnatomy` modules of the network. A network without any is the
    same for every anatomy, and takes any name.
    """

    def __init__(self, anatomies: Iterable[str]) -> None:
        super().__init__()
        self._anatomies: list[str] = []
        for anatomy in anatomies:
            self._register(anatomy)

    @property
    def anatomies(self) -> tuple[str, ...]:
        """The anatomies that have parameters of their own."""
        return tuple(self._anatomies)

    def add_anatomy(self, anatomy: str) -> None:
        """Give one more anatomy parameters of its own; what there was stays as it is.

        Raises:
            InputError: a name that there is already or cannot be one, or a network without a switch.
        """
        if not self._anatomies:
            raise InputError(
                f"{type(self).__name__}: expected a network with parameters of single anatomies, got "
                f"one that shares all; build it with the first anatomy in its configuration"
            )
        self._register(anatomy)
        for specific in self._specific_modules():
            specific.add(anatomy)
        example = next(self.parameters())
        self.to(device=example.device, dtype=example.dtype).train(self.training)

    def resolved(self, anatomy: str | None) -> str | None:
        """The anatomy to switch to: `anatomy`, or the only one there is; None where nothing is specific.

        Raises:
            InputError: an unknown anatomy, or none named where there are several.
        """
        if not self._anatomies:
            return None
        if anatomy is None and len(self._anatomies) == 1:
            return self._anatomies[0]
        if anatomy not in self._anatomies:
            raise InputError(
                f"{type(self).__name__}: expected an anatomy of {', '.join(self._anatomies)}, got "
                f"{anatomy and repr(anatomy)}; name one of them, or add it and train its parameters"
            )
        return anatomy

    def specific_parameters(self, anatomy: str | None) -> Iterator[torch.nn.Parameter]:
        """Those that `anatomy` alone uses, none in a network that shares all."""
        anatomy = self.resolved(anatomy)
        if anatomy is not None:
            for specific in self._specific_modules():
                yield from specific[anatomy].parameters()

    def shared_parameters(self) -> Iterator[torch.nn.Parameter]:
        """Those that every anatomy uses."""
        specific = {id(parameter) for module in self._specific_modules() for parameter in module.parameters()}
        return (parameter for parameter in self.parameters() if id(parameter) not in specific)

    def _register(self, anatomy: str) -> None:
        if not re.fullmatch(r"[a-z][a-z0-9_]*", anatomy) or hasattr(torch.nn.ModuleDict, anatomy):
            raise InputError(
                f"{type(self).__name__}: expected an anatomy's name of lower-case letters, digits and _, got "
                f"'{anatomy}'; use a name such as 'knee'"
            )
        if anatomy in self._anatomies:
            raise InputError(
                f"{type(self).__name__}: expected a new anatomy, got '{anatomy}' twice; name each once"
            )
        self._anatomies.append(anatomy)

    def _specific_modules(self) -> Iterator[PerAnatomy]:
        return (module for module in self.modules() if isinstance(module, PerAnatomy))
