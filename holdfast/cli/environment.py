"""`env` and `openrc`: what other clients need, as lines for a shell.

Here secrets are printed, because they are asked for; nowhere else.
"""

from __future__ import annotations

import shlex
from argparse import ArgumentParser, Namespace

from holdfast.base.errors import NotFound
from holdfast.cli.output import Output
from holdfast.cli.session import credentials_of
from holdfast.client.credentials import Credentials


def env_arguments(parser: ArgumentParser) -> None:
    """Whose variables."""
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--aws", action="store_true", help="only those of EC2 clients")
    kinds.add_argument("--openstack", action="store_true", help="only those of OpenStack clients")


def env_run(options: Namespace, output: Output) -> int:
    """Print `export NAME=value` lines, or one JSON document."""
    credentials = credentials_of(options)
    values: dict[str, str] = {}
    if not options.aws:
        values |= openstack_of(credentials)
    if options.aws or (credentials.ec2_access and not options.openstack):
        values |= aws_of(credentials)
    if output.as_json:
        output.document(values)
        return 0
    for name, value in values.items():
        output.raw(f"export {name}={shlex.quote(value)}\n")
    return 0


def openrc_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""


def openrc_run(options: Namespace, output: Output) -> int:
    """The variables of OpenStack clients, to be kept in a file."""
    return env_run(Namespace(**{**vars(options), "aws": False, "openstack": True}), output)


def openstack_of(credentials: Credentials) -> dict[str, str]:
    """The variables of OpenStack clients."""
    if credentials.token:
        who = {"OS_AUTH_TYPE": "v3token", "OS_TOKEN": credentials.token}
    else:
        who = {
            "OS_AUTH_TYPE": "password",
            "OS_USERNAME": credentials.user,
            "OS_PASSWORD": credentials.password,
            "OS_USER_DOMAIN_NAME": credentials.user_domain,
        }
    where = {
        "OS_AUTH_URL": credentials.auth_url,
        "OS_IDENTITY_API_VERSION": "3",
        "OS_PROJECT_NAME": credentials.project,
        "OS_PROJECT_DOMAIN_NAME": credentials.project_domain,
        "OS_REGION_NAME": credentials.region,
    }
    return {**who, **where}


def aws_of(credentials: Credentials) -> dict[str, str]:
    """The variables of EC2 clients; NotFound when this user has no access key."""
    if not credentials.ec2_access or not credentials.ec2_secret:
        raise NotFound(f"user {credentials.user!r} has no EC2 access key here; next: openstack ec2 credentials create")
    return {
        "AWS_ENDPOINT_URL_EC2": f"{credentials.base}/ec2",
        "AWS_ACCESS_KEY_ID": credentials.ec2_access,
        "AWS_SECRET_ACCESS_KEY": credentials.ec2_secret,
        "AWS_DEFAULT_REGION": credentials.region,
    }
