"""The configuration of a network, from which it is built."""

from typing import Annotated, ClassVar

import msgspec
import torch

from recon_core.nets.feature_maps import FeatureMaps
from recon_core.nets.undersampled import Undersampled

Count = Annotated[int, msgspec.Meta(ge=1)]
Weight = Annotated[float, msgspec.Meta(ge=0)]


class Architecture(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a network is made of. A subclass holds the fields, documented below themselves."""

    takes: ClassVar[type[Undersampled] | type[FeatureMaps]] = Undersampled
    """What its networks reconstruct from."""
    spirit_kernel_width: ClassVar[int] = 0
    """Of the kernels in `Undersampled.spirit_kernel`, where the network wants them; 0 where it does not."""
    wants_guide: ClassVar[bool] = False
    """Whether `Undersampled.guide` makes a difference to the network."""
    wants_normal: ClassVar[bool] = False
    """Whether the network wants `FeatureMaps.adjoint` and `FeatureMaps.normals`."""

    def build(self) -> torch.nn.Module:
        """The network, a `Network` of undersampled slices or a `FeatureNetwork`, with new weights."""
        raise NotImplementedError
