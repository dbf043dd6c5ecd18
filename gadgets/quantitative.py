"""Images whose values are measurements."""

from gadgets.records import ImageSeries

QUANTITATIVE = "Quantitative"


def quantitative_meta(quantity: str, unit: str) -> dict[str, str | list[str]]:
    """Meta attributes of a map: MRD's role and image type, and the unit in UCUM."""
    return {"DataRole": QUANTITATIVE, "ImageType": quantity, "Unit": unit}


def is_quantitative(series: ImageSeries) -> bool:
    """Whether pixel values are measurements, which no scale or part of a complex number may change."""
    roles = series.meta.get("DataRole", ())
    return QUANTITATIVE in ([roles] if isinstance(roles, str) else roles)
