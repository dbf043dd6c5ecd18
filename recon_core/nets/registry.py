"""The networks that can be asked for by name."""

from collections.abc import Mapping
from typing import Any

import msgspec
import torch

from recon_core.errors import InputError
from recon_core.nets.architecture import Architecture
from recon_core.nets.calibrated_cascade import CalibratedCascade
from recon_core.nets.d5c5 import D5C5
from recon_core.nets.dccnn import DCCNN
from recon_core.nets.dense_unet import DenseUnet
from recon_core.nets.guided_cascade import GuidedCascade
from recon_core.nets.manet import MANet
from recon_core.nets.mdcn import MDCN
from recon_core.nets.subspace_cascade import SubspaceCascade
from recon_core.nets.unet import UNet
from recon_core.nets.unrolled import Unrolled

ARCHITECTURES: dict[str, type[Architecture]] = {
    "calibrated_cascade": CalibratedCascade,
    "d5c5": D5C5,
    "dccnn": DCCNN,
    "dense_unet": DenseUnet,
    "guided_cascade": GuidedCascade,
    "manet": MANet,
    "mdcn": MDCN,
    "subspace_cascade": SubspaceCascade,
    "unet": UNet,
    "unrolled": Unrolled,
}


def build(architecture: str, config: Mapping[str, Any]) -> torch.nn.Module:
    """The network `architecture` with new weights, of the configuration that its record describes.

    Raises:
        InputError: an unknown architecture, field or anatomy, or a value that the field cannot have.
    """
    if architecture not in ARCHITECTURES:
        raise InputError(
            f"network: expected one of {', '.join(sorted(ARCHITECTURES))}, got '{architecture}'; "
            f"name one of them"
        )
    record = ARCHITECTURES[architecture]
    try:
        configured = msgspec.convert(dict(config), record)
    except msgspec.ValidationError as error:
        raise InputError(
            f"network '{architecture}': expected a configuration of {', '.join(record.__struct_fields__)}, "
            f"got {error}; correct it"
        ) from error
    return configured.build()
