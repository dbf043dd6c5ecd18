"""Raw scans for others to use: who was examined, where and when is left out."""

from collections.abc import Iterator
from pathlib import Path

import ismrmrd
import numpy as np

from gadgets.records import Readouts
from pipelines.anonymized_header import Pseudonym, anonymized_header
from pipelines.mrd_hdf5_writer import write_scan
from pipelines.mrd_header import header_from_xml
from pipelines.sources import Item, Scan, open_scan
from pipelines.studies.files import alone
from pipelines.studies.tokens import Tokens
from recon_core.errors import InputError
from recon_core.user_folder import user_folder

KEPT_OF_READOUTS = (
    *("version", "flags", "scan_counter", "physiology_time_stamp", "number_of_samples"),
    *("available_channels", "active_channels", "discard_pre", "discard_post", "center_sample"),
    *("encoding_space_ref", "trajectory_dimensions", "sample_time_us"),
    *("position", "read_dir", "phase_dir", "slice_dir", "patient_table_position"),
)
"""Of acquisition headers; beside it all counters but users', and the time since the first readout."""
KEPT_OF_COUNTERS = (
    *("kspace_encode_step_1", "kspace_encode_step_2", "average", "slice", "contrast"),
    *("phase", "repetition", "set", "segment"),
)
_KEPT_OF_WAVEFORMS = ("version", "flags", "scan_counter", "number_of_samples", "channels", "sample_time_us")


def user_pseudonyms() -> Pseudonym:
    """Pseudonyms by a secret in the user's data directory, or in the folder `RECONSTREAM_PSEUDONYMS`.

    Without the secret nobody can tell whether a pseudonym is that of an identifier he knows; who deletes it
    cuts the ties for good. Raises InputError where it can be neither read nor made.
    """
    folder = user_folder("RECONSTREAM_PSEUDONYMS", "pseudonyms")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with alone(folder):
            return Tokens(folder)
    except OSError as error:
        raise InputError(
            f"{folder}: expected a place for the secret of pseudonyms, got: {error.strerror}; "
            "name another folder in RECONSTREAM_PSEUDONYMS"
        ) from error


def anonymize(source: Path, destination: Path, pseudonym: Pseudonym | None = None) -> None:
    """Write the raw scan in `source` (ISMRMRD HDF5, MRD stream or journal) anonymised to HDF5.

    Samples, trajectories and waveforms stay as they are; of headers, what `KEPT`, `KEPT_OF_READOUTS` and
    their neighbours list; nothing else of the file is copied. It reconstructs to the same images, which still
    show who was examined to someone who knows the face. Raises InputError for a file without readouts or
    with images in it, and what `open_scan` raises.
    """
    if destination.exists() and destination.samefile(source):
        raise InputError(f"{destination}: expected another file than the source; choose another destination")
    scan = open_scan(source)
    header = anonymized_header(header_from_xml(scan.header_xml), pseudonym or user_pseudonyms())
    if next(_anonymized(scan.items(), source), None) is None:
        raise InputError(f"{source}: expected raw data, got none; there is nothing to anonymise")
    write_scan(Scan(header.toXML().encode(), lambda: _anonymized(scan.items(), source)), destination)


def _anonymized(items: Iterator[Item], source: Path) -> Iterator[Readouts | ismrmrd.Waveform]:
    began: int | None = None
    for item in items:
        if isinstance(item, ismrmrd.Image):
            raise InputError(
                f"{source}: expected raw data, got images, which say more than can be left out; "
                "anonymise the scan that they were made of"
            )
        if isinstance(item, Readouts):
            began = int(item.headers["acquisition_time_stamp"][0]) if began is None else began
            yield _readouts(item, began)
        else:
            began = item.time_stamp if began is None else began
            yield _waveform(item, began)


def _readouts(readouts: Readouts, began: int) -> Readouts:
    headers = np.zeros_like(readouts.headers)
    for name in KEPT_OF_READOUTS:
        headers[name] = readouts.headers[name]
    for name in KEPT_OF_COUNTERS:
        headers["idx"][name] = readouts.headers["idx"][name]
    stamps = readouts.headers["acquisition_time_stamp"].astype(np.int64)
    headers["acquisition_time_stamp"] = np.maximum(stamps - began, 0)
    return Readouts(headers=headers, data=readouts.data, trajectory=readouts.trajectory)


def _waveform(waveform: ismrmrd.Waveform, began: int) -> ismrmrd.Waveform:
    old = waveform.getHead()
    head = type(old)()
    for name in (*_KEPT_OF_WAVEFORMS, "waveform_id"):
        setattr(head, name, getattr(old, name))
    head.time_stamp = max(old.time_stamp - began, 0)
    return ismrmrd.Waveform(head, waveform.data)
