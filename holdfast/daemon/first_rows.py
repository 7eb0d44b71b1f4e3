"""The parts of `up` that need more than a process and a file: accelerator, first credentials, proof.

Whatever needs the store is in `bootstrap`: a second `up` speaks to the API only, and does not pay for SQLAlchemy.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from holdfast.base import config
from holdfast.base.errors import HoldfastError, Unavailable
from holdfast.base.limits import PROOF_S
from holdfast.base.run import CommandFailed, run
from holdfast.client.session import Session
from holdfast.daemon.places import Places, write_private

PROOF = "holdfast-proof"


def accelerator_probe(places: Places, settings: config.Settings, name: str) -> tuple[str, str]:
    """What guests of a host will run on, and whether that is as good as it gets."""
    if settings.hypervisor == "simulated":
        return "simulated hypervisor", "note"
    from holdfast.host.hypervisor.qemu.machines import Qemu
    from holdfast.host.imagebuild.packages import kernel_at_hand, parts_fetch

    home = places.host(name)
    home.mkdir(mode=0o711, parents=True, exist_ok=True)
    packages = Path(settings.packages)
    with suppress(HoldfastError):  # the image phase says so, and in which way
        parts_fetch(packages, lambda _: None)
    kernel = kernel_at_hand(packages)
    probed = Qemu(home, lambda _: -1, accelerator=settings.accelerator, kernel=kernel).probe()
    if settings.accelerator != "auto":
        return f"{settings.accelerator}: {probed.note} (QEMU {probed.version})", "note"
    if probed.accelerator == "kvm":
        return f"KVM: {probed.note or 'a Linux guest ran'} (QEMU {probed.version})", "note" if probed.note else "ok"
    reason = probed.note.partition(": qemu")[0]  # the whole of it is in logs/up.log
    return f"emulation, about 10 times slower: {reason[:80]} (QEMU {probed.version})", "note"


def session_of(places: Places, settings: config.Settings, user: str) -> Session:
    """A session of one of the first users."""
    known = json.loads(places.credentials.read_text())["users"][user]
    session = Session(settings.local_endpoint)
    session.login(user, known["password"], known["project"])
    return session


def ec2_credentials_ensure(places: Places, settings: config.Settings, admin: Session) -> None:
    """Keys for EC2 clients of both first users, made once."""
    document = json.loads(places.credentials.read_text())
    for name, user in document["users"].items():
        session = admin if name == "admin" else session_of(places, settings, name)
        user["ec2"] = _ec2_of(session)
    write_private(places.credentials, json.dumps(document, indent=1))


def _ec2_of(session: Session) -> dict[str, str]:
    identity = session.post("/identity/v3/auth/tokens", _rescope(session))["token"]
    path = f"/identity/v3/users/{identity['user']['id']}/credentials/OS-EC2"
    mine = [c for c in session.get(path)["credentials"] if c["tenant_id"] == identity["project"]["id"]]
    found = mine[0] if mine else session.post(path, {"tenant_id": identity["project"]["id"]})["credential"]
    return {"access": found["access"], "secret": found["secret"]}


def _rescope(session: Session) -> dict[str, Any]:
    return {"auth": {"identity": {"methods": ["token"], "token": {"id": session.token}}}}


def hosts_are_up(admin: Session, names: Sequence[str]) -> bool:
    """Whether these compute hosts have reported."""
    found = admin.get("/compute/v2.1/os-hypervisors/detail")["hypervisors"]
    return {h["hypervisor_hostname"] for h in found if h["state"] == "up"} >= set(names)


def guest_proof(session: Session) -> str:
    """Boot a guest, reach it over a public address, and remove it again; returns a sentence."""
    from holdfast.daemon.up import wait_for

    image = session.get("/image/v2/images?name=tiny&status=active")["images"][0]
    flavor = next(f for f in session.get("/compute/v2.1/flavors")["flavors"] if f["name"] == "m1.nano")
    network = session.get("/network/v2.0/networks?name=private")["networks"][0]
    _proof_remove(session)
    group = _proof_group(session)
    body = {"name": PROOF, "imageRef": image["id"], "flavorRef": flavor["id"], "networks": [{"uuid": network["id"]}]}
    body["security_groups"] = [{"name": group["name"]}]
    server = session.post("/compute/v2.1/servers", {"server": body})["server"]
    try:
        path = f"/compute/v2.1/servers/{server['id']}"
        address = _proof_address(session, server["id"])
        wait_for(
            lambda: _became_active(session, path),
            PROOF_S,
            f"the probe guest did not start: holdfast why {server['id']}",
        )
        wait_for(
            lambda: _pings(address),
            PROOF_S,
            f"the probe guest did not answer at {address}: holdfast why {server['id']}",
        )
        return f"a guest booted and answered at {address}"
    finally:
        _proof_remove(session)


def _became_active(session: Session, path: str) -> bool:
    server = session.get(path)["server"]
    if server["status"] == "ERROR":
        raise Unavailable(f"the probe guest failed: {server['fault']['message']}", code="proof_failed")
    return bool(server["status"] == "ACTIVE")


def _proof_group(session: Session) -> dict[str, Any]:
    group = session.post("/network/v2.0/security-groups", {"security_group": {"name": PROOF}})["security_group"]
    rule = {"security_group_id": group["id"], "direction": "ingress", "ethertype": "IPv4", "protocol": "icmp"}
    session.post("/network/v2.0/security-group-rules", {"security_group_rule": rule})
    return dict(group)


def _proof_address(session: Session, server_id: str) -> str:
    port = session.get(f"/network/v2.0/ports?device_id={server_id}")["ports"][0]
    outside = session.get("/network/v2.0/networks?router:external=true")["networks"][0]
    body = {"floating_network_id": outside["id"], "port_id": port["id"], "description": PROOF}
    return str(session.post("/network/v2.0/floatingips", {"floatingip": body})["floatingip"]["floating_ip_address"])


def _pings(address: str) -> bool:
    try:
        run(["ping", "-c", "1", "-W", "1", address], timeout_s=5)
    except CommandFailed:
        return False
    return True


def _proof_remove(session: Session) -> None:
    """Remove whatever a proof, this one or a killed one, has made."""
    from holdfast.daemon.up import wait_for

    for address in session.get(f"/network/v2.0/floatingips?description={PROOF}")["floatingips"]:
        session.delete(f"/network/v2.0/floatingips/{address['id']}")
    listing = f"/compute/v2.1/servers?name=^{PROOF}$"
    for server in session.get(listing)["servers"]:
        session.delete(f"/compute/v2.1/servers/{server['id']}")
    wait_for(lambda: not session.get(listing)["servers"], PROOF_S, "the probe guest was not removed")
    for group in session.get(f"/network/v2.0/security-groups?name={PROOF}")["security_groups"]:
        session.delete(f"/network/v2.0/security-groups/{group['id']}")
