"""The closed list of gadgets a recipe may name: ours, and those installed packages announce."""

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points

from gadgets.gadget import Gadget
from recon_core.errors import RecipeError

ENTRY_POINT_GROUP = "reconstream.gadgets"
"""The entry-point group by which another package announces its gadgets."""

_BUILT_IN = {
    "NoiseAdjust": "noise_adjust",
    "Trajectory": "trajectory",
    "Accumulate": "accumulate",
    "AccumulateNonCartesian": "accumulate_non_cartesian",
    "GradientDelays": "gradient_delays",
    "DensityCompensation": "density_compensation",
    "RemoveOversampling": "remove_oversampling",
    "CoilCompression": "coil_compression",
    "CoilMaps": "coil_maps",
    "FourierReconstruction": "fourier_reconstruction",
    "Grappa": "grappa",
    "Spirit": "spirit",
    "Sense": "sense",
    "WaveletSense": "wavelet_sense",
    "TotalVariationSense": "total_variation_sense",
    "NetworkReconstruction": "network_reconstruction",
    "AutoReconstruction": "auto_reconstruction",
    "FindNavigators": "find_navigators",
    "FlipAngleSubspace": "flip_angle_subspace",
    "NavigatorSubspace": "navigator_subspace",
    "MultitaskingSubspace": "multitasking_subspace",
    "FeatureNetwork": "feature_network",
    "SubspaceReconstruction": "subspace_reconstruction",
    "T1Map": "t1_map",
    "ExpandFrames": "expand_frames",
    "PartialFourier": "partial_fourier",
    "CropFieldOfView": "crop_field_of_view",
    "ImageType": "image_type",
    "ScaleIntensity": "scale_intensity",
    "Window": "window",
    "NameSeries": "name_series",
    "AddMeta": "add_meta",
    "DicomOut": "dicom_out",
}
"""Class name to module, one file each."""


@cache
def known_gadgets() -> dict[str, type[Gadget]]:
    """Every gadget by name. Raises RecipeError when two packages announce the same name."""
    known: dict[str, type[Gadget]] = {
        name: getattr(import_module(f"gadgets.{module}"), name) for name, module in _BUILT_IN.items()
    }
    for entry in entry_points(group=ENTRY_POINT_GROUP):
        if entry.name in known:
            raise RecipeError(
                f"gadget '{entry.name}' of {entry.value}: expected a name not taken yet, "
                f"got that of {known[entry.name].__module__}; uninstall one of the two packages"
            )
        known[entry.name] = entry.load()
    return known
