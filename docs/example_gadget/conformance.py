"""The example goes through the kit that the built-in gadgets go through."""

import numpy as np
import torch
from apodise_gadget import Apodise

from gadgets.encoding import Encoding
from gadgets.gadget import Context
from gadgets.records import HEADER_DTYPE, KSpace
from gadgets.testing import assert_gadget_conforms

kspace = KSpace(
    data=torch.randn(2, 1, 8, 16, dtype=torch.complex64),
    sampled=torch.ones(1, 8, 16, dtype=torch.bool),
    header=np.zeros(1, HEADER_DTYPE)[0],
    encoding=Encoding(
        encoded_matrix=(16, 8, 1),
        encoded_fov_mm=(320.0, 160.0, 5.0),
        recon_matrix=(16, 8, 1),
        recon_fov_mm=(320.0, 160.0, 5.0),
        limits={},
    ),
)
assert_gadget_conforms(Apodise(), [kspace], lambda: Context(header=None))
