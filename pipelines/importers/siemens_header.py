"""The MRD header of a Siemens measurement, from its protocol."""

from typing import Any

from ismrmrd import xsd

from recon_core.errors import InputError

_CARTESIAN = 1
_THREE_DIMENSIONAL = 4
COUNTER_NAMES = {
    "average": "Ave",
    "slice": "Sli",
    "contrast": "Eco",
    "phase": "Phs",
    "repetition": "Rep",
    "set": "Set",
    "segment": "Seg",
}
"""Siemens' names of MRD's counters, those of the encoding steps apart."""


def mrd_header(protocol: dict[str, Any], blocks: list[Any], *, is_epi: bool, where: str) -> Any:
    """`ismrmrd.xsd.ismrmrdHeader` of the measurement with the readouts `blocks`.

    Matrix sizes and fields of view are those of the protocol; counters and centres those of the readouts.
    Raises InputError for non-Cartesian trajectories and for protocols without slices.
    """
    try:
        yaps, meas = protocol["MeasYaps"], protocol["Meas"]
        space, slice_ = yaps["sKSpace"], yaps["sSliceArray"]["asSlice"][0]
        if space.get("ucTrajectory", _CARTESIAN) != _CARTESIAN:
            raise InputError(
                f"{where}: expected a Cartesian trajectory, got Siemens's number {space['ucTrajectory']}; "
                "twix files do not hold other trajectories, convert with siemens_to_ismrmrd"
            )
        encoded, recon = _spaces(space, slice_, meas, _n_samples(blocks))
    except KeyError as error:
        raise InputError(f"{where}: expected {error} in the protocol, got none; export it again") from error
    return xsd.ismrmrdHeader(
        measurementInformation=xsd.measurementInformationType(
            measurementID=str(blocks[0].mdh.MeasUID),
            patientPosition=_patient_position(meas),
            protocolName=_text(meas, "tProtocolName"),
        ),
        acquisitionSystemInformation=xsd.acquisitionSystemInformationType(
            systemVendor="SIEMENS",
            systemFieldStrength_T=_number(meas, "flMagneticFieldStrength"),
            relativeReceiverNoiseBandwidth=0.793,
            receiverChannels=max(block.mdh.UsedChannels for block in blocks),
        ),
        experimentalConditions=xsd.experimentalConditionsType(
            H1resonanceFrequency_Hz=int(_number(meas, "lFrequency") or 0)
        ),
        encoding=[
            xsd.encodingType(
                encodedSpace=encoded,
                reconSpace=recon,
                encodingLimits=_limits(blocks),
                trajectory=xsd.trajectoryType.EPI if is_epi else xsd.trajectoryType.CARTESIAN,
                parallelImaging=_parallel_imaging(yaps.get("sPat", {})),
            )
        ],
        sequenceParameters=xsd.sequenceParametersType(
            TR=[value / 1000 for value in yaps.get("alTR", [])[:1]],
            TE=[value / 1000 for value in yaps.get("alTE", [])[: int(yaps.get("lContrasts", 1))]],
            flipAngle_deg=list(yaps.get("adFlipAngleDegree", [])[:1]),
        ),
    )


def _images(blocks: list[Any]) -> list[Any]:
    return [block for block in blocks if block.is_image_scan()] or blocks


def _n_samples(blocks: list[Any]) -> int:
    return max(int(block.mdh.SamplesInScan) for block in _images(blocks))


def _spaces(space: Any, slice_: Any, meas: Any, n_samples: int) -> tuple[Any, Any]:
    n_x = int(space["lBaseResolution"])
    n_encoded_x = int(_number(meas, "iNoOfFourierColumns") or n_samples)
    phase_oversampling = 1 + (
        _number(meas, "phaseOversampling") or space.get("dPhaseOversamplingForDialog", 0)
    )
    n_encoded_y = int(_number(meas, "iPEFTLength") or space["lPhaseEncodingLines"])
    is_3d = space.get("ucDimension") == _THREE_DIMENSIONAL
    n_encoded_z = int(_number(meas, "i3DFTLength") or space["lPartitions"]) if is_3d else 1
    slice_oversampling = 1 + space.get("dSliceOversamplingForDialog", 0) if is_3d else 1
    n_y = int(
        _number(meas, "imageLines") or _number(meas, "NImageLins") or round(n_encoded_y / phase_oversampling)
    )
    n_z = int(space.get("lImagesPerSlab", n_encoded_z)) if is_3d else 1
    fov_x, fov_y, fov_z = slice_["dReadoutFOV"], slice_["dPhaseFOV"], slice_["dThickness"]
    return (
        _space(
            (n_encoded_x, n_encoded_y, n_encoded_z),
            (fov_x * n_encoded_x / n_x, fov_y * phase_oversampling, fov_z * slice_oversampling),
        ),
        _space((n_x, n_y, n_z), (fov_x, fov_y, fov_z)),
    )


def _space(matrix: tuple[int, int, int], fov_mm: tuple[float, float, float]) -> Any:
    return xsd.encodingSpaceType(
        matrixSize=xsd.matrixSizeType(x=matrix[0], y=matrix[1], z=matrix[2]),
        fieldOfView_mm=xsd.fieldOfViewMm(x=fov_mm[0], y=fov_mm[1], z=fov_mm[2]),
    )


def _limits(blocks: list[Any]) -> Any:
    centre = _images(blocks)[0].mdh
    counters = [block.mdh.Counter for block in blocks]

    def limit(name: str, center: int = 0) -> Any:
        return xsd.limitType(maximum=max(getattr(counter, name) for counter in counters), center=center)

    return xsd.encodingLimitsType(
        kspace_encoding_step_1=limit("Lin", int(centre.CenterLin)),
        kspace_encoding_step_2=limit("Par", int(centre.CenterPar)),
        **{mrd: limit(siemens) for mrd, siemens in COUNTER_NAMES.items()},
    )


def _parallel_imaging(pat: Any) -> Any:
    factors = int(pat.get("lAccelFactPE", 1)), int(pat.get("lAccelFact3D", 1))
    if factors == (1, 1):
        return None
    modes = {1: "other", 2: "embedded", 4: "separate"}
    return xsd.parallelImagingType(
        accelerationFactor=xsd.accelerationFactorType(
            kspace_encoding_step_1=factors[0], kspace_encoding_step_2=factors[1]
        ),
        calibrationMode=xsd.calibrationModeType(modes.get(int(pat.get("ucRefScanMode", 1)), "other")),
    )


def _patient_position(meas: Any) -> Any:
    text = _text(meas, "tPatientPosition")
    known = {member.value: member for member in xsd.patientPositionType}
    return known.get(text, xsd.patientPositionType.HFS)


def _number(meas: Any, name: str) -> float | None:
    """A value of the protocol, which has an empty text where there is none."""
    value = meas.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and value else None


def _text(meas: Any, name: str) -> str:
    return str(meas.get(name, ""))
