"""Stream configurations with the gadget chains of those that Gadgetron ships, in both of its dialects."""

from collections.abc import Iterable
from xml.sax.saxutils import escape, quoteattr

Chain = Iterable[tuple[str, dict[str, str]]]

READERS = "<reader><slot>1008</slot><dll>core</dll><classname>AnyMessageReader</classname></reader>"
WRITERS = "<writer><slot>1022</slot><dll>core</dll><classname>MRIImageWriter</classname></writer>"

TIMING = {"debug_folder": "", "perform_timing": "true", "verbose": "true"}
BUFFER = {
    "N_dimension": "contrast",
    "S_dimension": "average",
    "split_slices": "false",
    "ignore_segment": "true",
}
FILTERS = {f"filter{axis}": "Gaussian" for axis in ("RO", "E1", "E2")} | {"filterRO_sigma": "1.0"}

SIMPLE = [
    ("RemoveROOversamplingGadget", {}),
    ("AcquisitionAccumulateTriggerGadget", {"trigger_dimension": "repetition", "sorting_dimension": "slice"}),
    ("BucketToBufferGadget", {"N_dimension": "", "S_dimension": "", "split_slices": "true"}),
    ("SimpleReconGadget", {}),
    ("ImageArraySplitGadget", {}),
    ("ExtractGadget", {}),
    ("ImageFinishGadget", {}),
]
OPTIMIZED = [
    ("NoiseAdjustGadget", {}),
    ("PCACoilGadget", {}),
    ("CoilReductionGadget", {"coils_out": "16"}),
    *SIMPLE,
]


def generic(reconstruction: str, scaling_factor: str) -> list[tuple[str, dict[str, str]]]:
    return [
        ("NoiseAdjustGadget", {}),
        ("AsymmetricEchoAdjustROGadget", {}),
        ("RemoveROOversamplingGadget", {}),
        ("AcquisitionAccumulateTriggerGadget", {"trigger_dimension": "", "sorting_dimension": ""}),
        ("BucketToBufferGadget", BUFFER),
        ("GenericReconCartesianReferencePrepGadget", {**TIMING, "average_all_ref_N": "true"}),
        (
            "GenericReconEigenChannelGadget",
            {
                **TIMING,
                "upstream_coil_compression": "true",
                "upstream_coil_compression_thres": "0.002",
                "upstream_coil_compression_num_modesKept": "0",
            },
        ),
        (reconstruction, {**TIMING, "image_series": "0", "coil_map_algorithm": "Inati"}),
        (
            "GenericReconPartialFourierHandlingFilterGadget",
            {**TIMING, "partial_fourier_filter_RO_width": "0.15"},
        ),
        ("GenericReconKSpaceFilteringGadget", {**TIMING, **FILTERS}),
        ("GenericReconFieldOfViewAdjustmentGadget", TIMING),
        (
            "GenericReconImageArrayScalingGadget",
            {"scalingFactor": scaling_factor, "use_constant_scalingFactor": "true"},
        ),
        ("ImageArraySplitGadget", {}),
        ("ComplexToFloatGadget", {}),
        ("FloatToUShortGadget", {"max_intensity": "32767", "min_intensity": "0", "intensity_offset": "0"}),
        ("ImageFinishGadget", {}),
    ]


GENERIC_FFT = generic("GenericReconCartesianFFTGadget", "1.0")
GENERIC_GRAPPA = generic("GenericReconCartesianGrappaGadget", "10.0")


def legacy_xml(chain: Chain) -> str:
    """The old dialect: everything below one root, properties as elements."""
    gadgets = "".join(
        f"<gadget><name>{name}</name><dll>any</dll><classname>{name}</classname>"
        + "".join(
            f"<property><name>{key}</name><value>{escape(value)}</value></property>"
            for key, value in properties.items()
        )
        + "</gadget><!-- a comment -->"
        for name, properties in chain
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<gadgetronStreamConfiguration xsi:schemaLocation="http://gadgetron.sf.net/gadgetron gadgetron.xsd" '
        'xmlns="http://gadgetron.sf.net/gadgetron" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">'
        f"{READERS}{WRITERS}{gadgets}</gadgetronStreamConfiguration>"
    )


def v2_xml(chain: Chain) -> str:
    """The new dialect: a stream, properties as attributes."""
    gadgets = "".join(
        f"<gadget><dll>any</dll><classname>{name}</classname>"
        + "".join(
            f"<property name={quoteattr(key)} value={quoteattr(value)}/>" for key, value in properties.items()
        )
        + "</gadget>"
        for name, properties in chain
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><configuration><version>2</version>'
        f"<readers>{READERS}</readers><writers>{WRITERS}</writers><stream>{gadgets}</stream></configuration>"
    )
