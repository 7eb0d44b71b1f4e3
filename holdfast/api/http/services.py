"""What handlers work with: made once by the composition root, the same for every request."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.api.http.batch import Batches
from holdfast.base.clock import Clock
from holdfast.base.config import Settings
from holdfast.control.operations.host.certificates import HostsAuthority
from holdfast.control.operations.identity.authority import Authority
from holdfast.control.store.database import Database


@dataclass(frozen=True, slots=True)
class Services:
    """The parts of a control replica that facades use."""

    settings: Settings
    clock: Clock
    store: Database
    keys: Path  # directory of the token keys
    images: Path  # directory of the image service's files
    authority: Authority  # tokens and secrets: made, checked, remembered
    hosts_authority: HostsAuthority  # certificates of hosts of other machines
    together: Batches  # what many hosts do at once
    mounts: frozenset[str]  # what this port serves: the catalogue shows nothing else
