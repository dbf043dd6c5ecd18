"""Choosing the k-space among the variables of a file."""

from typing import Any

import numpy as np
import numpy.typing as npt

from recon_core.errors import InputError


def only_array(variables: dict[str, Any], wanted: str | None, where: str) -> npt.NDArray[Any]:
    """The variable `wanted` or, when none is, the only one that can be k-space: numbers in two axes or more.

    Raises InputError, with the names there are, when it is not there or not the only one.
    """
    arrays = {
        name: value
        for name, value in variables.items()
        if isinstance(value, np.ndarray) and np.issubdtype(value.dtype, np.number) and value.ndim >= 2
    }
    if wanted is None and len(arrays) == 1:
        (wanted,) = arrays
    if wanted not in arrays:
        known = ", ".join(f"{name} {array.shape}" for name, array in arrays.items()) or "no array"
        raise InputError(
            f"{where}: expected {f'an array {wanted!r}' if wanted else 'one array of k-space'}, got {known}; "
            "name the variable"
        )
    return arrays[wanted]
