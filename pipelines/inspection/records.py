"""What an inspection finds."""

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True, kw_only=True)
class CounterRange:
    """The values of one counter, and those the header allows; None where it says nothing."""

    first: int
    last: int
    limits: tuple[int, int] | None

    @property
    def is_within_limits(self) -> bool:
        return self.limits is None or (self.limits[0] <= self.first and self.last <= self.limits[1])


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """Which phase-encoding lines the images of one Cartesian encoding have."""

    n_images: int
    n_lines: int
    """In all images together, averages counted once; calibration lines off the pattern are among them."""
    n_missing: int
    """Lines the pattern asks for that are not there."""
    n_expected: int
    acceleration: tuple[int, int] | None
    """Seen along (ky, kz) in the first image; None when the pattern is irregular."""
    calibration: tuple[int, int] | None
    """Lines about the centre of the first image, (ky, kz): those flagged for calibration or, where none are,
    the fully sampled ones; None without undersampling."""
    mask: list[list[bool]]
    """`(kz, ky)`: the lines of the first image."""


@dataclass(frozen=True, kw_only=True)
class EncodingSpace:
    """One encoding of the header and the readouts that refer to it; sizes and lengths are (x, y, z)."""

    trajectory: str
    encoded_matrix: tuple[int, int, int]
    encoded_fov_mm: tuple[float, float, float]
    recon_matrix: tuple[int, int, int]
    recon_fov_mm: tuple[float, float, float]
    acceleration: tuple[int, int]
    """As the header states it, along (ky, kz)."""
    n_readouts: int
    counters: dict[str, CounterRange]
    sampling: Sampling | None
    """None for other than Cartesian trajectories, or without readouts."""


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The noise scan."""

    n_readouts: int
    dwell_time_us: float
    std: list[float]
    """Of each channel, over real and imaginary part together."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What `inspect_scan` found."""

    file: str
    format: str
    measurement: str = ""
    protocol: str = ""
    system: str = ""
    n_readouts: int = 0
    n_images: int = 0
    n_waveforms: dict[int, int] = field(default_factory=dict)
    """By waveform id."""
    shapes: dict[str, int] = field(default_factory=dict)
    """Readouts by "channels x samples", with the dimensions of their trajectory where they have one."""
    dwell_times_us: list[float] = field(default_factory=list)
    """Of all readouts but noise."""
    flags: dict[str, int] = field(default_factory=dict)
    encodings: list[EncodingSpace] = field(default_factory=list)
    noise: Noise | None = None
    dependencies: dict[str, str] = field(default_factory=dict)
    """Measurements this one needs, by kind."""
    interrupted: str = ""
    """Why the stream ends early; empty when it does not."""

    def to_dict(self) -> dict[str, Any]:
        """Plain dictionaries, lists, numbers and texts."""
        return asdict(self)

    def render(self) -> str:
        """The findings in words, with a picture of the sampling."""
        from pipelines.inspection.text import rendered

        return rendered(self)

    __str__ = render
