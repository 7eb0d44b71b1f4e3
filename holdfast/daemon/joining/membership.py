"""What makes a machine a host of a cloud elsewhere: an id, a token and a key, made once, and certificates for the key.

identity_make  >  the cloud signs a request  >  certificate_keep  >  half of its time over: renewed, for ever
"""

from __future__ import annotations

import datetime
import http.client
import secrets
import threading
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from holdfast.base import ids
from holdfast.base import log as logs
from holdfast.base.certificates import CERTIFICATE, KEY
from holdfast.base.errors import Bug, HoldfastError, Unavailable
from holdfast.base.limits import CONTROL_ANSWER_S, HOST_CERTIFICATE_LOOK_S
from holdfast.daemon.places import write_private
from holdfast.host.dial import TOKEN, ControlPlane

log = logs.get(__name__)
ID = "id"


class _Renewed(msgspec.Struct, frozen=True):
    certificate: str


def identity_make(home: Path) -> None:
    """Make what is not there yet; what is there stays."""
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    if not (home / TOKEN).exists():
        write_private(home / TOKEN, secrets.token_urlsafe(32))
    if not (home / KEY).exists():
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(home / KEY, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode())
    if not (home / ID).exists():
        write_private(home / ID, ids.new_id())


def request_of(home: Path) -> str:
    """A request for a certificate for the host's key, PEM."""
    key = load_pem_private_key((home / KEY).read_bytes(), None)
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise Bug("the key of a host is made for an elliptic curve")
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, (home / ID).read_text().strip())])
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, hashes.SHA256())
    return request.public_bytes(Encoding.PEM).decode()


def left_s(home: Path, now: datetime.datetime) -> tuple[float, float]:
    """Seconds that the certificate is valid from `now` on, and in all."""
    certificate = x509.load_pem_x509_certificate((home / CERTIFICATE).read_bytes())
    begins, ends = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    return (ends - now).total_seconds(), (ends - begins).total_seconds()


def certificate_renew(control: ControlPlane, home: Path) -> None:
    """Get a newer one for the same key. Raises Unavailable."""
    connection = control.connect(CONTROL_ANSWER_S)
    try:
        connection.ask("POST", "/certificate", msgspec.json.encode({"request": request_of(home)}))
        answer = connection.getresponse()
        body = answer.read()
        renewed = msgspec.json.decode(body, type=_Renewed) if answer.status == 200 else None
    except (OSError, http.client.HTTPException, msgspec.DecodeError) as err:
        control.failed()
        raise Unavailable("the control plane does not answer", detail=str(err)) from err
    finally:
        connection.close()
    if renewed is None:
        raise Unavailable(f"the control plane answered {answer.status} to the request for a certificate")
    write_private(home / CERTIFICATE, renewed.certificate)


def certificate_look(control: ControlPlane, home: Path, now: datetime.datetime) -> bool:
    """Renew it when half of its time is over; returns whether it was. Raises Unavailable."""
    left, whole = left_s(home, now)
    if left > whole / 2:
        return False
    certificate_renew(control, home)
    log.info("certificate_renewed", had_left_s=int(left))
    return True


def stay(control: ControlPlane, home: Path) -> None:
    """Look again and again, from a thread that ends with the process."""

    def look() -> None:
        pause = threading.Event()
        while True:
            try:
                certificate_look(control, home, datetime.datetime.now(datetime.UTC))
            except (HoldfastError, OSError, ValueError) as err:
                log.warn("certificate_not_renewed", reason=str(err))
            except Exception:  # the boundary of one look: a host whose certificate ends is cut off
                log.exception("certificate_look_failed")
            pause.wait(HOST_CERTIFICATE_LOOK_S)

    threading.Thread(target=look, name="certificate", daemon=True).start()
