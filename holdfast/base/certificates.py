"""How a host of another machine and the control plane know each other: files in the host's directory, and one name.

Of a host that never left its machine there are none of these files, and its calls go over loopback as they are.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

# what the control plane's certificate is for, wherever it is reached: addresses change, and balancers stand before it
CONTROL_NAME = "control.holdfast.internal"
AUTHORITY, KEY, CERTIFICATE = "authority.pem", "key.pem", "certificate.pem"


def trusting(authority: str) -> ssl.SSLContext:
    """Accepts only servers that this authority, PEM, signed for CONTROL_NAME."""
    import ssl  # 3 MB that a keeper of the control plane's own machine does not need

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authority)
    return context


def trusting_clients(authority: str) -> ssl.SSLContext:
    """Of a server: a client that shows a certificate must have one of this authority; it may show none."""
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.load_verify_locations(cadata=authority)
    context.verify_mode = ssl.CERT_OPTIONAL
    return context


def context_of(home: Path) -> ssl.SSLContext:
    """As the host whose directory this is; its files are read now, for they are renewed. Raises OSError."""
    context = trusting((home / AUTHORITY).read_text())
    context.load_cert_chain(home / CERTIFICATE, home / KEY)
    return context
