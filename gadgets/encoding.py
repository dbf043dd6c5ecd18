"""The geometry of an encoding, read once from the MRD header."""

from dataclasses import dataclass
from typing import Any, Self

from recon_core.errors import InputError

COUNTERS = (
    "kspace_encode_step_1",
    "kspace_encode_step_2",
    "average",
    "slice",
    "contrast",
    "phase",
    "repetition",
    "set",
    "segment",
)
"""MRD's encoding counters, under the names the acquisition header gives them."""

# The schema spells two of them differently in the encoding limits.
_LIMIT_NAMES = {
    "kspace_encode_step_1": "kspace_encoding_step_1",
    "kspace_encode_step_2": "kspace_encoding_step_2",
}


@dataclass(frozen=True, slots=True)
class Limit:
    """The range of one counter."""

    minimum: int
    maximum: int
    center: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """Matrix sizes and fields of view, all in the order `(x, y, z)` as MRD has them."""

    encoded_matrix: tuple[int, int, int]
    encoded_fov_mm: tuple[float, float, float]
    recon_matrix: tuple[int, int, int]
    recon_fov_mm: tuple[float, float, float]
    limits: dict[str, Limit]
    """By counter name; a counter the header says nothing of is absent."""
    acceleration: tuple[int, int] = (1, 1)
    """Along `(kspace_encode_step_1, kspace_encode_step_2)`."""
    calibration_mode: str = ""
    """MRD's: `embedded` where the reference lines are lines of the images' own scan; else they may differ in
    contrast. `external` where they are another scan's."""
    trajectory: str = "cartesian"

    @classmethod
    def from_header(cls, header: Any, encoding_space: int = 0) -> Self:
        """Encoding number `encoding_space` of a parsed MRD header (`ismrmrd.xsd.ismrmrdHeader`).

        Raises InputError when the header has no such encoding or a matrix size of zero.
        """
        encodings = header.encoding or []
        if encoding_space >= len(encodings):
            raise InputError(
                f"MRD header: expected an encoding number {encoding_space} (a readout's encoding_space_ref), "
                f"got {len(encodings)} encodings; add the encoding to the header"
            )
        encoding = encodings[encoding_space]
        encoded, recon = encoding.encodedSpace, encoding.reconSpace
        matrices = _xyz(encoded.matrixSize, int), _xyz(recon.matrixSize, int)
        if any(length < 1 for matrix in matrices for length in matrix):
            raise InputError(
                f"MRD header: expected matrix sizes of at least 1, got {matrices}; correct the header"
            )
        return cls(
            encoded_matrix=matrices[0],
            encoded_fov_mm=_xyz(encoded.fieldOfView_mm, float),
            recon_matrix=matrices[1],
            recon_fov_mm=_xyz(recon.fieldOfView_mm, float),
            limits=_limits(encoding.encodingLimits, matrices[0]),
            acceleration=_acceleration(encoding.parallelImaging),
            calibration_mode=_calibration_mode(encoding.parallelImaging),
            trajectory=encoding.trajectory.value if encoding.trajectory else "cartesian",
        )


def _xyz(value: Any, number: type) -> Any:
    return number(value.x), number(value.y), number(value.z)


def _limits(limits: Any, encoded_matrix: tuple[int, int, int]) -> dict[str, Limit]:
    found = {}
    for counter in COUNTERS:
        limit = getattr(limits, _LIMIT_NAMES.get(counter, counter), None)
        if limit is not None:
            found[counter] = Limit(int(limit.minimum), int(limit.maximum), int(limit.center))
    for counter, n in zip(COUNTERS[:2], encoded_matrix[1:], strict=True):
        # All lines of the matrix fit about n // 2 only: such a center was never filled in.
        if n > 1 and found.get(counter) == Limit(0, n - 1, 0):
            found[counter] = Limit(0, n - 1, n // 2)
    return found


def _acceleration(parallel_imaging: Any) -> tuple[int, int]:
    if parallel_imaging is None or parallel_imaging.accelerationFactor is None:
        return 1, 1
    factor = parallel_imaging.accelerationFactor
    # Some converters write 0 along an axis that is not accelerated.
    return max(1, int(factor.kspace_encoding_step_1)), max(1, int(factor.kspace_encoding_step_2))


def _calibration_mode(parallel_imaging: Any) -> str:
    mode = parallel_imaging.calibrationMode if parallel_imaging is not None else None
    return "" if mode is None else str(mode.value)
