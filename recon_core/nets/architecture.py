"""The configuration of a network, from which it is built."""

from typing import Annotated, ClassVar

import msgspec
import torch

Count = Annotated[int, msgspec.Meta(ge=1)]
Weight = Annotated[float, msgspec.Meta(ge=0)]


class Architecture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a network is made of. A subclass holds the fields, documented below themselves."""

    spirit_kernel_width: ClassVar[int] = 0
    """Of the kernels in `Undersampled.spirit_kernel`, where the network wants them; 0 where it does not."""

    def build(self) -> torch.nn.Module:
        """The network, a `recon_core.nets.undersampled.Network`, with new weights."""
        raise NotImplementedError
