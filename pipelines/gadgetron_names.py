"""What stock Gadgetron gadgets are called here: one small function for each that has a counterpart.

A function takes out of the properties what it understands and yields our steps; what it leaves has no
counterpart. It may yield notes on what is done differently. Where a property is absent its default is
Gadgetron's.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, get_args

from gadgets.accumulate import Accumulate, Counter
from gadgets.grappa import Grappa
from pipelines.recipe import Step

Properties = dict[str, str]


@dataclass(frozen=True)
class Amendment:
    """Parameters that a gadget of Gadgetron's adds to the last of ours of that name in the recipe."""

    use: str
    parameters: dict[str, Any]
    alone: dict[str, Any] | None = None
    """The further parameters of a step of its own, where there is none to add to; None for no step."""


Translation = Callable[[Properties], Iterator[Step | Amendment | str]]

NO_EFFECT = frozenset(
    ["debug_folder", "perform_timing", "verbose", "time_tick", "skip_processing_meta_field", "image_series"]
)
"""Properties that change no pixel here: logging, timing, and the numbering of series."""


def _step(use: str, **parameters: Any) -> Translation:
    """One step, whatever the properties."""

    def translate(_properties: Properties) -> Iterator[Step]:
        yield Step(use, parameters)

    return translate


def _nothing(_properties: Properties) -> Iterator[Step]:
    """Work that our other gadgets do anyway, or that records of ours do not need."""
    yield from ()


def _is_true(text: str) -> bool:
    return text.lower() in ("true", "1", "yes", "on")


def _noise_adjust(properties: Properties) -> Iterator[Step]:
    if _is_true(properties.get("pass_nonconformant_data", "")):
        del properties["pass_nonconformant_data"]
    if _is_true(properties.pop("perform_noise_adjust", "true")):
        yield Step("NoiseAdjust")


def _coil_reduction(properties: Properties) -> Iterator[Step]:
    """After PCACoilGadget the first channels are the strongest: together they are a compression."""
    yield Step("CoilCompression", {"n_coils": properties.pop("coils_out", "128"), "method": "svd"})


def _eigen_channel(properties: Properties) -> Iterator[Step]:
    is_on = _is_true(properties.pop("upstream_coil_compression", "true"))
    n_kept = properties.pop("upstream_coil_compression_num_modesKept", "0")
    if is_on and n_kept.strip("0"):
        properties.pop("upstream_coil_compression_thres", None)  # Gadgetron looks at one or the other
        yield Step("CoilCompression", {"n_coils": n_kept, "method": "svd"})


def _accumulate_trigger(properties: Properties) -> Iterator[Step]:
    """Gadgetron never averages: every average is an image of its own."""
    properties.pop("sorting_dimension", None)  # the order of work, not its result
    parameters: dict[str, Any] = {"sort_by": [*Accumulate().sort_by, "average"]}
    trigger = properties.get("trigger_dimension", "none").lower()
    if trigger in get_args(Counter):
        parameters["trigger"] = trigger
    if trigger in (*get_args(Counter), "none"):
        properties.pop("trigger_dimension", None)
    yield Step("Accumulate", parameters)


def _bucket_to_buffer(properties: Properties) -> Iterator[Step]:
    """Our images are single, whichever axis Gadgetron stacks them along, and segments never part them."""
    properties.pop("split_slices", None)
    for name in ("N_dimension", "S_dimension"):
        if properties.get(name) != "segment":
            properties.pop(name, None)
    if _is_true(properties.get("ignore_segment", "")):
        del properties["ignore_segment"]
    yield from ()


def _grappa(properties: Properties) -> Iterator[Step]:
    for name in ("send_out_gfactor", "send_out_snr_map"):
        if name in properties and not _is_true(properties[name]):
            del properties[name]
    axes = ("E2", "E1", "RO")
    sizes = [int(properties.pop(f"grappa_kSize_{axis}", "0")) for axis in axes]
    ours = Grappa().kernel
    kernel = [size or default for size, default in zip(sizes, ours, strict=True)]
    yield Step("Grappa", {"kernel": kernel} if any(sizes) else {})


def _spirit(properties: Properties) -> Iterator[Step]:
    """Gadgetron's is linear: CG-SPIRiT. A kernel as wide along RO as along E1 is ours."""
    parameters: dict[str, Any] = {"l1": 0.0}
    width, along_e1 = (int(properties.get(f"spirit_kSize_{axis}", "0")) for axis in ("RO", "E1"))
    if width == along_e1:
        for axis in ("RO", "E1", "E2"):  # our slices have no E2
            properties.pop(f"spirit_kSize_{axis}", None)
        if width:
            parameters["kernel_width"] = width
    if n_iterations := int(properties.pop("spirit_iter_max", "0")):
        parameters["n_iterations"] = n_iterations
    yield Step("Spirit", parameters)


def _partial_fourier_filter(_properties: Properties) -> Iterator[str]:
    yield "partial k-space is zero-filled without a taper at its edge"


def _kspace_filter(properties: Properties) -> Iterator[str]:
    kinds = {axis: properties.pop(f"filter{axis}", "Gaussian") for axis in ("RO", "E1", "E2")}
    on = {axis: kind for axis, kind in kinds.items() if kind.lower() != "none"}
    settings = [f"filter{axis}_{setting}" for axis in kinds for setting in ("sigma", "width")]
    used = [f"{name}={properties.pop(name)}" for name in settings if name in properties]
    if on:
        filters = ", ".join(f"filter{axis}={kind}" for axis, kind in on.items())
        yield f"k-space is not filtered: no counterpart for {', '.join([filters, *used])}"


def _combine(_properties: Properties) -> Iterator[Amendment]:
    yield Amendment("FourierReconstruction", {"combine": "rss"})


def _crop_and_combine(_properties: Properties) -> Iterator[Step | Amendment]:
    yield Step("RemoveOversampling")
    yield Amendment("FourierReconstruction", {"combine": "rss"})


def _extract(properties: Properties) -> Iterator[Step | str]:
    """A bit mask (magnitude, real, imaginary, phase) and a switch for each, the magnitude's on."""
    mask = int(properties.pop("extract_mask", "0"))
    names = {"magnitude": "magnitude", "real": "real", "imag": "imaginary", "phase": "phase"}
    wanted = [
        part
        for bit, (name, part) in enumerate(names.items())
        if _is_true(properties.pop(f"extract_{name}", str(name == "magnitude"))) or mask >> bit & 1
    ]
    made = (wanted or ["magnitude"])[0]
    if len(wanted) != 1:
        yield f"of the image types {', '.join(wanted) or '(none)'} only {made} is made"
    yield Step("ImageType", {"part": made})


def _image_array_scaling(properties: Properties) -> Iterator[Step]:
    factor = float(properties.pop("scalingFactor", "4.0"))
    if _is_true(properties.pop("use_constant_scalingFactor", "true")) and factor > 0:
        for unused in ("min_intensity_value", "max_intensity_value", "auto_scaling_only_once"):
            properties.pop(unused, None)
        yield Step("ScaleIntensity", {"factor": factor, "number": "float32"})
        return
    if _is_true(properties.get("auto_scaling_only_once", "")):
        del properties["auto_scaling_only_once"]
    yield Step("ScaleIntensity", {"target": 2048.0, "percentile": 100.0, "number": "float32"})


def _auto_scale(properties: Properties) -> Iterator[Step | str]:
    yield "every image of a series has the scale of its first one"
    target = float(properties.pop("max_value", "2048"))
    yield Step("ScaleIntensity", {"target": target, "percentile": 99.0, "number": "float32"})


def _to_integer(number: str) -> Translation:
    def translate(properties: Properties) -> Iterator[Amendment]:
        for name in ("min_intensity", "intensity_offset"):
            if not properties.get(name, "0").strip("0"):
                properties.pop(name, None)
        yield Amendment("ScaleIntensity", {"number": number}, alone={"factor": 1.0})

    return translate


def _dicom_finish(_properties: Properties) -> Iterator[Step | str]:
    yield "DICOM files stay with the server (--dicom-folder); the client gets MRD images"
    yield Step("DicomOut")


STOCK_GADGETS: dict[str, Translation] = {
    "NoiseAdjustGadget": _noise_adjust,
    "NoiseAdjustGadget_unoptimized": _noise_adjust,
    "PCACoilGadget": _nothing,  # turns channels without leaving any out
    "CoilReductionGadget": _coil_reduction,
    "AsymmetricEchoAdjustROGadget": _nothing,  # Accumulate puts echoes in their place
    "RemoveROOversamplingGadget": _step("RemoveOversampling"),
    "AcquisitionAccumulateTriggerGadget": _accumulate_trigger,
    "AccumulatorGadget": _step("Accumulate"),
    "BucketToBufferGadget": _bucket_to_buffer,
    "GenericReconCartesianReferencePrepGadget": _nothing,
    "GenericReconEigenChannelGadget": _eigen_channel,
    "SimpleReconGadget": _step("FourierReconstruction", combine="rss"),
    "FFTGadget": _step("FourierReconstruction", combine="none"),
    "GenericReconCartesianFFTGadget": _step("FourierReconstruction"),
    "GenericReconCartesianGrappaGadget": _grappa,
    "GenericReconCartesianSpiritGadget": _spirit,
    "GenericReconPartialFourierHandlingFilterGadget": _partial_fourier_filter,
    "GenericReconPartialFourierHandlingPOCSGadget": _step("PartialFourier", method="pocs"),
    "GenericReconKSpaceFilteringGadget": _kspace_filter,
    "GenericReconFieldOfViewAdjustmentGadget": _step("CropFieldOfView"),
    "GenericReconImageArrayScalingGadget": _image_array_scaling,
    "CombineGadget": _combine,
    "CropAndCombineGadget": _crop_and_combine,
    "ExtractGadget": _extract,
    "ComplexToFloatGadget": _step("ImageType"),
    "AutoScaleGadget": _auto_scale,
    "FloatToUShortGadget": _to_integer("uint16"),
    "FloatToShortGadget": _to_integer("int16"),
    "ImageArraySplitGadget": _nothing,
    "ImageFinishGadget": _nothing,
    "ImageFinishGadgetCPLX": _nothing,
    "ImageFinishGadgetFLOAT": _nothing,
    "ImageFinishGadgetUSHORT": _nothing,
    "ImageSortGadget": _nothing,
    "ImageIndexGadget": _nothing,
    "AugmentImageMetadataGadget": _nothing,
    "DicomFinishGadget": _dicom_finish,
}
"""By class name."""
