"""Key pairs: made, imported, listed, deleted. They are the user's, as in Nova, whatever the project.

The private half is in the one answer that made it and nowhere else.
"""

from __future__ import annotations

from holdfast.api.ec2.facade import Action, Members
from holdfast.api.ec2.filters import filter_of
from holdfast.api.ec2.lookup import KEY, check, key_id, missing
from holdfast.api.ec2.tags import no_tags
from holdfast.api.http.call import Call
from holdfast.base.errors import BadInput, NotFound, NotSupported
from holdfast.base.limits import NAME_CHARS
from holdfast.control.operations.keypair import (
    key_material_new,
    keypair_admit,
    keypair_generate,
    keypair_import,
    public_key_fingerprint,
)
from holdfast.control.store.database import Tx
from holdfast.control.store.keypair import keypair_delete, keypair_fetch, keypairs_list
from holdfast.domain.instance import Keypair

_RULE = "os_compute_api:os-keypairs"


def key_pair_create(call: Call, members: Members) -> Members:
    """CreateKeyPair: an RSA key in PEM."""
    name, user_id, project_id = _name(members), call.credentials.user_id, call.project_id
    no_tags(members, "key-pair")
    if members.get("KeyType", "rsa") != "rsa":
        raise NotSupported("Only keys of type rsa are made here; import one of another type.")
    if members.get("KeyFormat", "pem") != "pem":
        raise NotSupported("Private keys are given in PEM only.")
    store = call.services.store
    store.read(lambda tx: keypair_admit(tx, user_id, project_id, name))  # before the work of drawing one
    material = key_material_new()
    row, private_key = store.write(lambda tx: keypair_generate(tx, user_id, project_id, name, material))
    return {**_brief(row), "KeyMaterial": private_key}


def key_pair_import(call: Call, members: Members) -> Members:
    """ImportKeyPair: a line as in id_ed25519.pub."""
    name, user_id, project_id = _name(members), call.credentials.user_id, call.project_id
    no_tags(members, "key-pair")
    try:
        public_key = members["PublicKeyMaterial"].decode("ascii").strip()
        public_key_fingerprint(public_key)
    except (UnicodeDecodeError, BadInput) as err:
        raise BadInput("Key is not in valid OpenSSH public key format", code="InvalidKey.Format") from err
    row = call.services.store.write(lambda tx: keypair_import(tx, user_id, project_id, name, public_key))
    return _brief(row)


def key_pairs_describe(call: Call, members: Members) -> Members:
    """DescribeKeyPairs."""
    names, key_ids = members.get("KeyNames", []), members.get("KeyPairIds", [])
    passes = filter_of(members.get("Filters", []), ("key-name", "key-pair-id", "fingerprint"))
    check(KEY, key_ids)
    user_id = call.credentials.user_id
    rows = call.services.store.read(lambda tx: _all(tx, user_id))
    by_name, by_id = {row.name: row for row in rows}, {key_id(user_id, row.name): row for row in rows}
    for name in names:
        if name not in by_name:
            raise _unknown(name)
    for text in key_ids:
        if text not in by_id:
            raise missing(KEY, text)
    asked = {*names, *(by_id[text].name for text in key_ids)} or set(by_name)
    shown = [_brief(row) for row in rows if row.name in asked]
    kept = [view["KeyName"] for view in shown if passes(_facts(view))]
    whole = bool(members.get("IncludePublicKey"))
    return {"KeyPairs": [_info(by_name[name], whole) for name in kept]}


def key_pair_delete(call: Call, members: Members) -> Members:
    """DeleteKeyPair: of one that is not there is done already."""
    name, text, user_id = members.get("KeyName", ""), members.get("KeyPairId", ""), call.credentials.user_id
    if bool(name) == bool(text):
        raise BadInput("The request must contain KeyName or KeyPairId", code="MissingParameter")
    check(KEY, [text] if text else [])

    def change(tx: Tx) -> None:
        names = [row.name for row in _all(tx, user_id) if key_id(user_id, row.name) == text] if text else [name]
        for each in names:
            keypair_delete(tx, user_id, each)

    call.services.store.write(change)
    return {"Return": True, "KeyPairId": text or key_id(user_id, name)}


def key_pair_require(tx: Tx, user_id: str, name: str) -> None:
    """NotFound unless the user has a key of this name."""
    if keypair_fetch(tx, user_id, name) is None:
        raise _unknown(name)


def _unknown(name: str) -> NotFound:
    return NotFound(f"The key pair '{name[:64]}' does not exist", code="InvalidKeyPair.NotFound")


def _all(tx: Tx, user_id: str) -> list[Keypair]:
    return [row for row in keypairs_list(tx, user_id) if row.kind == "ssh"]


def _name(members: Members) -> str:
    name: str = members["KeyName"]
    if not 1 <= len(name) <= NAME_CHARS or not name.isprintable() or name != name.strip():
        raise BadInput(f"KeyName must be 1 to {NAME_CHARS} printable characters", code="InvalidParameterValue")
    return name


def _brief(row: Keypair) -> Members:
    return {"KeyName": row.name, "KeyFingerprint": row.fingerprint, "KeyPairId": key_id(row.user_id, row.name)}


def _info(row: Keypair, whole: bool) -> Members:
    kind = "ed25519" if row.public_key.startswith("ssh-ed25519") else "rsa"
    view = {**_brief(row), "KeyType": kind, "CreateTime": row.created_us, "Tags": []}
    return {**view, "PublicKey": row.public_key} if whole else view


def _facts(view: Members) -> dict[str, list[str]]:
    names = {"key-name": "KeyName", "key-pair-id": "KeyPairId", "fingerprint": "KeyFingerprint"}
    return {name: [view[member]] for name, member in names.items()}


ACTIONS = {
    "CreateKeyPair": Action(f"{_RULE}:create", key_pair_create),
    "ImportKeyPair": Action(f"{_RULE}:create", key_pair_import),
    "DescribeKeyPairs": Action(f"{_RULE}:index", key_pairs_describe),
    "DeleteKeyPair": Action(f"{_RULE}:delete", key_pair_delete),
}
