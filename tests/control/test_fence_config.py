"""How a host's fence configuration is read, kept and shown: strictly, sealed, and without its secret."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from holdfast.base import log as logs
from holdfast.base.errors import BadInput, NotFound, NotSupported, Unavailable
from holdfast.control.fencing.config import config_read
from holdfast.control.fencing.ipmi import Ipmi
from holdfast.control.operations.host.fence_config import (
    fence_config_fetch,
    fence_config_set,
    fence_config_show,
    fence_config_unset,
)
from holdfast.control.operations.identity.keys import Keyring, keys_prepare
from holdfast.control.store.database import Database
from holdfast.control.store.fencing.host_fence import host_fence, host_fence_fetch, host_fence_set
from holdfast.control.store.host import host_insert
from tests.conftest import HeldClock
from tests.control.fence_tools import CANARY

IPMI = {"kind": "ipmi", "address": "10.0.0.9", "username": "fence", "secret": CANARY}
REDFISH = {"kind": "redfish", "address": "https://bmc-1.example:8443", "username": "fence", "secret": CANARY}


@pytest.fixture
def keyring(store: Database, clock: HeldClock, tmp_path: Path) -> Keyring:
    return Keyring(store, clock, keys_prepare(store, tmp_path), "secrets")


@pytest.fixture
def hosts(store: Database) -> Database:
    for name in ("a", "b"):
        store.write(lambda tx, name=name: host_insert(tx, f"id-{name}", name, "nova", "x"))
    return store


def test_what_is_set_is_shown_without_its_secret_and_used_with_it(
    hosts: Database, keyring: Keyring, tmp_path: Path
) -> None:
    with logs.into_file(tmp_path / "log", "test"):
        shown = hosts.write(lambda tx: fence_config_set(tx, keyring, "id-a", IPMI))
    assert shown == {**IPMI, "secret": "***", "port": 623, "privilege": "OPERATOR", "cipher_suite": None}
    assert hosts.read(lambda tx: fence_config_show(tx, keyring, "id-a")) == shown
    config = hosts.read(lambda tx: fence_config_fetch(tx, keyring, "id-a"))
    assert isinstance(config, Ipmi)
    assert config.secret.reveal() == CANARY
    row = str(hosts.read(lambda tx: tx.all(select(host_fence))))
    for text in (row, repr(config), str(shown), (tmp_path / "log").read_text()):
        assert CANARY not in text
    assert "10.0.0.9" not in row


def test_a_second_one_takes_the_place_of_the_first_and_unset_is_the_end(hosts: Database, keyring: Keyring) -> None:
    for document in (IPMI, REDFISH):
        hosts.write(lambda tx, document=document: fence_config_set(tx, keyring, "id-a", json.dumps(document).encode()))
    assert hosts.read(lambda tx: fence_config_show(tx, keyring, "id-a"))["kind"] == "redfish"
    for _ in range(2):
        hosts.write(lambda tx: fence_config_unset(tx, "id-a"))
    with pytest.raises(NotFound, match="host a has no fence configuration"):
        hosts.read(lambda tx: fence_config_show(tx, keyring, "id-a"))


def test_a_row_of_another_host_or_kind_of_key_opens_for_nobody(
    hosts: Database, keyring: Keyring, clock: HeldClock, tmp_path: Path
) -> None:
    hosts.write(lambda tx: fence_config_set(tx, keyring, "id-a", IPMI))
    row = hosts.read(lambda tx: host_fence_fetch(tx, "id-a"))
    assert row
    hosts.write(lambda tx: host_fence_set(tx, "id-b", row.config))
    with pytest.raises(Unavailable, match="host b cannot be opened"):
        hosts.read(lambda tx: fence_config_fetch(tx, keyring, "id-b"))
    tokens = Keyring(hosts, clock, keys_prepare(hosts, tmp_path), "tokens")
    with pytest.raises(Unavailable, match="host a cannot be opened"):
        hosts.read(lambda tx: fence_config_show(tx, tokens, "id-a"))


def test_a_host_that_is_not_there_has_none(hosts: Database, keyring: Keyring) -> None:
    with pytest.raises(NotFound):
        hosts.write(lambda tx: fence_config_set(tx, keyring, "id-z", IPMI))
    with pytest.raises(NotFound):
        hosts.write(lambda tx: fence_config_unset(tx, "id-z"))


@pytest.mark.parametrize(
    ("document", "words"),
    [
        (b"{", "not a JSON document"),
        (b"[]", "a JSON object"),
        ({"argv": ["/bin/true"]}, "'kind' is one of command, ipmi, redfish"),
        ({"kind": "impi"}, "did you mean 'ipmi'"),
        ({"kind": ["ipmi"]}, "'kind' is one of"),
        ({**IPMI, "adress": "x"}, "no key 'adress'; did you mean 'address'"),
        ({**IPMI, "address": "-x"}, "address"),
        ({**IPMI, "address": "a b"}, "address"),
        ({**IPMI, "secret": ""}, "secret: 1 to 20 bytes"),
        ({**IPMI, "secret": CANARY * 2}, "secret: 1 to 20 bytes"),
        ({**IPMI, "secret": CANARY + "\n"}, "secret: printable"),
        ({**IPMI, "secret": 7}, "a text is needed"),
        ({**IPMI, "port": 0}, "port"),
        ({**IPMI, "privilege": "ROOT"}, "privilege"),
        ({**IPMI, "cipher_suite": 0}, "cipher_suite"),
        ({"kind": "ipmi", "address": "x", "username": "y"}, "secret"),
        ({**REDFISH, "address": "http://bmc"}, "https://HOST"),
        ({**REDFISH, "address": f"https://u:{CANARY}@bmc"}, "https://HOST"),
        ({**REDFISH, "address": "https://bmc:99999"}, "address"),
        ({**REDFISH, "ca": "bmc.pem"}, "absolute path"),
        ({**REDFISH, "system": "1"}, "system"),
        ({"kind": "command", "argv": "/bin/true"}, "argv"),
        ({"kind": "command", "argv": []}, "argv"),
        ({"kind": "command", "argv": ["fence"]}, "absolute path"),
        ({"kind": "command", "argv": ["/bin/x"] * 65}, "argv"),
        ({"kind": "command", "argv": ["/bin/x", "y" * 20_000]}, "bytes"),
    ],
)
def test_a_wrong_document_is_refused_by_name_and_changes_nothing(
    hosts: Database, keyring: Keyring, document: Any, words: str
) -> None:
    with pytest.raises(BadInput) as refused:
        hosts.write(lambda tx: fence_config_set(tx, keyring, "id-a", document))
    assert words in refused.value.message
    assert CANARY not in f"{refused.value.message}{refused.value.detail}{refused.value.__cause__!r}"
    assert hosts.read(lambda tx: host_fence_fetch(tx, "id-a")) is None


def test_what_is_missing_is_named_before_anything_is_kept(
    hosts: Database, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(NotSupported, match="apt-get install ipmitool"):
        hosts.write(lambda tx: fence_config_set(tx, keyring, "id-a", IPMI))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(NotSupported, match=r"pip install 'holdfast\[redfish\]'"):
        hosts.write(lambda tx: fence_config_set(tx, keyring, "id-a", REDFISH))
    assert hosts.read(lambda tx: host_fence_fetch(tx, "id-a")) is None


def test_a_document_comes_back_as_it_was() -> None:
    assert config_read(IPMI) == config_read(json.dumps(IPMI).encode())
