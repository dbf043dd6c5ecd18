"""What the meta attributes of an MRD image say to DICOM, in MRD's and our own words."""

from typing import Any

import ismrmrd

from gadgets.mrd_images import PROVENANCE
from gadgets.reconstructed import METHOD
from pipelines.outputs.dicom_pixels import Window

UNIT = "Unit"
"""Meta key of the unit of a quantitative image's values, in UCUM: "ms", "1/s", "mm2/s"."""

_MADE_BY = {
    "Recipe": "recipe",
    "RecipeHash": "recipe SHA-256",
    "Model": "model",
    "ModelHash": "model SHA-256",
    "Precision": "precision",
    "Fallback": "fallback",
}
_ROLES = ("Image", "Quantitative")
_TINY, _HUGE = 1e-30, 1e30


class ImageMeta:
    """The meta attributes of one image, of which many may be missing and some be nonsense."""

    def __init__(self, image: ismrmrd.Image) -> None:
        self._texts = {str(key): _texts(value) for key, value in image.meta.items()}

    def texts(self, key: str) -> list[str]:
        return self._texts.get(key, [])

    def number(self, key: str) -> float | None:
        """The first value as a number that arithmetic survives, None where it is not."""
        try:
            value = float(self._texts[key][0])
        except (KeyError, IndexError, ValueError):
            return None
        return value if value == 0 or _TINY <= abs(value) <= _HUGE else None

    @property
    def rescale(self) -> tuple[float, float]:
        """Slope and intercept from pixels to values."""
        return self.number("RescaleSlope") or 1.0, self.number("RescaleIntercept") or 0.0

    @property
    def window(self) -> Window | None:
        """In values: after slope and intercept, as MRD and DICOM both have it."""
        width = self.number("WindowWidth")
        return Window(self.number("WindowCenter") or 0.0, width) if width and width > 0 else None

    @property
    def quantity(self) -> str | None:
        """What a quantitative image is a map of, as its roles or image types say; None for other images."""
        roles = self.texts("DataRole")
        if "Quantitative" not in roles:
            return None
        named = [name for name in (*roles, *self.texts("ImageType")) if name and name not in _ROLES]
        return named[0] if named else "value"

    @property
    def unit(self) -> str | None:
        """Of the values of a quantitative image."""
        return " ".join(self.texts(UNIT)) or None

    @property
    def method(self) -> str:
        return " ".join(self.texts(METHOD)) or "reconstruction"

    @property
    def version(self) -> str | None:
        """Of the reconstream that made the image; None where another program did."""
        return " ".join(self.texts(f"{PROVENANCE}Version")) or None

    @property
    def made_by(self) -> str:
        """Recipe and model, each with its hash, and whether the image is a fallback."""
        said = {name: " ".join(self.texts(PROVENANCE + key)) for key, name in _MADE_BY.items()}
        return "; ".join(f"{name} {value}" for name, value in said.items() if value)


def _texts(value: Any) -> list[str]:
    return [str(one or "") for one in (value if isinstance(value, list) else [value])]
