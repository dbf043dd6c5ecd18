"""How much a peer may ask of us: every length is held against these before memory is taken."""

import msgspec


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Sizes in bytes, times in seconds."""

    xml_bytes: int = 16 << 20
    """An MRD header, a configuration, or an image's attributes."""
    text_bytes: int = 1 << 20
    """A TEXT message or a query."""
    readout_bytes: int = 64 << 20
    """One acquisition with its trajectory."""
    waveform_bytes: int = 16 << 20
    """One waveform."""
    image_bytes: int = 2 << 30
    """One image."""
    handshake_timeout_s: float = 30.0
    """Until configuration and header have arrived."""
    idle_timeout_s: float = 600.0
    """Without a byte from a peer that has sent its header: a paused scan."""
    message_timeout_s: float = 30.0
    """For one message to arrive whole, on top of a second for each megabyte of it."""
    send_timeout_s: float = 60.0
    """Without a byte taken by a peer that we are sending to."""
    drain_timeout_s: float = 8.0
    """For running sessions to end after the server was told to stop: `docker stop` kills after ten."""
    linger_timeout_s: float = 5.0
    """After an error, how long what the peer still sends is received, so that it gets to read the error."""
    journal_bytes: int | None = None
    """Of finished journals that are kept, the oldest removed first; None keeps all."""
    n_sessions: int = 64
    """At once; one more is refused with a TEXT."""
