"""An anatomy to simulate, from a numpy archive of heart images."""

from pathlib import Path
from zipfile import BadZipFile

import numpy as np
import torch

from recon_core.dynamic.anatomy import Anatomy
from recon_core.dynamic.image_anatomy import LEFT_VENTRICLE, MYOCARDIUM, cine_anatomy, labelled_anatomy
from recon_core.errors import InputError
from recon_core.training.draws import Draws

LEAST_SHARE = 0.005
"""Of the image: a smaller left ventricle is not worth simulating."""


def read_anatomy(path: Path, n: int, seed: int, field_strength_t: float = 3.0) -> Anatomy:
    """`(n, n)` maps from an ``.npz`` or ``.npy`` file; of several images the seed chooses one.

    Arrays ``image*`` with ``label*`` beside them are short axes with the labels of ACDC (1 right ventricle, 2
    myocardium, 3 left ventricle); any other array of three axes is a cine, `(frame, y, x)`.

    Raises InputError for a file that cannot be read or holds neither.
    """
    try:
        loaded = np.load(path, allow_pickle=False)
        arrays = dict(loaded) if isinstance(loaded, np.lib.npyio.NpzFile) else {path.stem: loaded}
    except (OSError, ValueError, EOFError, BadZipFile) as error:
        raise InputError(
            f"{path}: expected images in an .npz or .npy file, got none; see docs/simulation.md"
        ) from error
    images = {
        name: array for name, array in arrays.items() if array.ndim in (2, 3) and array.dtype.kind in "biuf"
    }
    tensors = {name: torch.from_numpy(array.astype(np.float32)) for name, array in images.items()}
    pairs = [
        (image, labels)
        for name, image in sorted(tensors.items())
        if name.startswith("image")
        and (labels := tensors.get(name.replace("image", "label", 1))) is not None
        and _shows_the_heart(labels)
    ]
    draws = Draws(seed, "anatomy")
    if pairs:
        return labelled_anatomy(*draws.choice(pairs), n, draws, field_strength_t=field_strength_t)
    cines = [tensor for _, tensor in sorted(tensors.items()) if tensor.ndim == 3]
    if not cines:
        raise InputError(
            f"{path}: expected arrays image* and label* with a left ventricle (3) and myocardium (2), or a "
            f"cine (frame, y, x), got {', '.join(arrays) or 'nothing'}"
        )
    return cine_anatomy(draws.choice(cines), n, draws, field_strength_t=field_strength_t)


def _shows_the_heart(labels: torch.Tensor) -> bool:
    is_there = all((labels == wanted).any() for wanted in (MYOCARDIUM, LEFT_VENTRICLE))
    return labels.ndim == 2 and is_there and float((labels == LEFT_VENTRICLE).float().mean()) > LEAST_SHARE
