"""What Gadgetron's clients ask about noise scans: a configuration, then CLOSE, without a header or data."""

import ismrmrd

from gadgets.noise_of_study import noise_summary
from gadgets.study import Studies
from pipelines.gadgetron_xml import noise_asked_for
from pipelines.messages import ConfigFile, ConfigText

_LIST = "gtquery"
"""The configuration that asks for all noise scans there are."""


def dependency_answer(configuration: ConfigFile | ConfigText, studies: Studies) -> str | None:
    """The attributes, as XML, that answer a client's question about noise scans; None where it asks nothing.

    `gadgetron_ismrmrd_client` asks about the scan that a header names before it sends the data, and hears
    whether its noise is known, and how much it is. Scanners ask by `gtquery.xml` which noise scans they need
    not send again; none, since identifiers are stored as hashes, which cannot be listed.
    """
    match configuration:
        case ConfigFile(name) if name.strip().removesuffix(".xml") == _LIST:
            return _serialized({"NoiseDependencies": "Dummy"})  # Gadgetron's word for none
        case ConfigText(text) if measurement := noise_asked_for(text):
            summary = noise_summary(measurement, studies)
            return _serialized({**summary, "status": "success"} if summary else {"status": "failed"})
    return None


def _serialized(attributes: dict[str, str]) -> str:
    xml: str = ismrmrd.Meta(attributes).serialize()
    return xml
