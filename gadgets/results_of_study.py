"""What was calibrated from external calibration data, for the next scans that are calibrated by the same."""

import hashlib
from collections.abc import Callable, Mapping
from importlib.metadata import version
from typing import Generic, TypeVar

import msgspec
import torch

from gadgets.gadget import Context, Gadget
from gadgets.study import Item, Kind

Result = TypeVar("Result")


class ResultsOfStudy(Generic[Result]):
    """Results of one kind, found by everything that they depend on, so that they are bit for bit the same.

    Args:
        context: of the scan.
        kind: as what they are kept.
        gadget: whose parameters they depend on.
        pack: the tensors of a result by name; None for one that it lacks.
        unpack: the result of such tensors.
    """

    def __init__(
        self,
        context: Context,
        kind: Kind,
        gadget: Gadget,
        pack: Callable[[Result], Mapping[str, torch.Tensor | None]],
        unpack: Callable[[Mapping[str, torch.Tensor]], Result],
    ) -> None:
        self._context, self._kind, self._pack, self._unpack = context, kind, pack, unpack
        self._gadget = msgspec.json.encode([version("reconstream"), type(gadget).__name__, gadget])

    def get(self, calibration: torch.Tensor, compute: Callable[[], Result], *also: object) -> Result:
        """The result for this calibration and whatever else it depends on."""
        name = self._name(calibration, also)
        for kept in self._context.study.find(self._kind, self._context.scan, name):
            if tensors := kept.load():
                return self._unpack({key: t.to(calibration.device) for key, t in tensors.items()})
        result = compute()
        tensors = {key: t for key, t in self._pack(result).items() if t is not None}
        self._context.study.keep(Item(kind=self._kind, scan=self._context.scan, name=name, tensors=tensors))
        return result

    def _name(self, calibration: torch.Tensor, also: tuple[object, ...]) -> str:
        depends_on = f"{calibration.device.type} {tuple(calibration.shape)} {also}".encode()
        samples = torch.view_as_real(calibration.resolve_conj()).cpu().contiguous().numpy()
        return hashlib.sha256(self._gadget + depends_on + samples.tobytes()).hexdigest()
