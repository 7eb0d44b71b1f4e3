"""From a command's options to the cloud it speaks to, and where its own files are.

On the cloud's own host they are in STATE/client and go with the cloud; elsewhere the token is in ~/.cache/holdfast
and the key in ~/.ssh. All of them are their owner's alone.
"""

from __future__ import annotations

import os
from argparse import Namespace
from pathlib import Path

from holdfast.client.cloud import Cloud
from holdfast.client.connection import Http
from holdfast.client.credentials import Credentials, credentials_find
from holdfast.client.login import TokenCache


def credentials_of(options: Namespace) -> Credentials:
    """Who the command acts as."""
    return credentials_find(Path(options.state), options.admin, os.environ)


def cloud_of(options: Namespace) -> Cloud:
    """The cloud, not yet spoken to."""
    credentials = credentials_of(options)
    return Cloud(Http(), credentials, TokenCache(_private(options, credentials, ".cache/holdfast") / "tokens.json"))


def admin_cloud_of(options: Namespace) -> Cloud:
    """As the administrator; where the state directory is not, as whoever the environment names."""
    here = os.access(Path(options.state) / "credentials.json", os.R_OK)
    options.admin = here or not os.environ.get("OS_AUTH_URL")
    return cloud_of(options)


def key_path(options: Namespace, credentials: Credentials) -> Path:
    """Where the command line's own ssh key is."""
    return _private(options, credentials, ".ssh") / "holdfast_ed25519"


def known_hosts_path(options: Namespace, credentials: Credentials) -> Path:
    """Where the host keys of guests are remembered."""
    return _private(options, credentials, ".ssh") / "holdfast_known_hosts"


def _private(options: Namespace, credentials: Credentials, elsewhere: str) -> Path:
    if credentials.local and os.access(options.state, os.W_OK):
        return Path(options.state) / "client"
    return Path.home() / elsewhere
