"""The short scan that tests of bad input spoil, as messages."""

import numpy as np

from pipelines.server import Server
from tests.pipelines import wire

SCAN = wire.scan()
CONFIG, HEADER, LINES = SCAN[0], SCAN[1], SCAN[2:-1]
RECIPE = 'name = "show"\nabout = "images to images"\nstart = "images"\n[[gadget]]\nuse = "ImageType"\n'


def journals(server: Server) -> list[bytes]:
    assert server._journal is not None
    return [path.read_bytes() for path in server._journal.iterdir()]


def line(
    number: int = 0, n_coils: int = wire.N_COILS, n: int = wire.N, value: complex = 1, **fields: int
) -> bytes:
    data = np.full((n_coils, n), value, np.complex64)
    return wire.acquisition(data, kspace_encode_step_1=number, scan_counter=number + 1, **fields)
