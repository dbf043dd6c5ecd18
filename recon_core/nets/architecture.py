"""The configuration of a network, from which it is built."""

import msgspec
import torch


class Architecture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a network is made of. A subclass holds the fields, documented below themselves."""

    def build(self) -> torch.nn.Module:
        """The network, a `recon_core.nets.undersampled.Network`, with new weights."""
        raise NotImplementedError
