"""`token`, on the cloud's own machine, and `join`, on the one that is to be a host of it."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from urllib.parse import quote

from holdfast.base.errors import BadInput
from holdfast.base.limits import JOIN_TOKEN_MAX_S, JOIN_TOKEN_S
from holdfast.cli.output import Output
from holdfast.cli.session import admin_cloud_of

_PATH = "/operator/v1/join-tokens"
MINUTE_S = 60


def token_arguments(parser: ArgumentParser) -> None:
    """How long it lets machines in."""
    default = JOIN_TOKEN_S // MINUTE_S
    words = f"how long it lets machines in (default: {default}, at most {JOIN_TOKEN_MAX_S // MINUTE_S})"
    parser.add_argument("--minutes", type=int, default=default, metavar="N", help=words)
    parser.add_argument("--list", action="store_true", help="those that still let somebody in, without their text")
    parser.add_argument("--revoke", default="", metavar="ID", help="from now on this one lets nobody in")


def token_run(options: Namespace, output: Output) -> int:
    """Make one and print the command for the other machine."""
    cloud = admin_cloud_of(options)
    if options.revoke:
        cloud.delete("holdfast", f"{_PATH}/{quote(options.revoke, safe='')}")
        output.event("revoked", id=options.revoke)
        output.line(f"revoked {options.revoke}: machines that joined with it stay")
    elif options.list:
        found = cloud.get("holdfast", _PATH)["join_tokens"]
        if output.as_json:
            output.document(found)
        elif found:
            output.table(("ID", "UNTIL", "MADE"), [(t["id"], t["until"], t["created_at"]) for t in found])
        else:
            output.line("no token lets anybody in; next: holdfast token")
    else:
        made = cloud.post("holdfast", _PATH, {"lasts_s": options.minutes * MINUTE_S})["join_token"]
        if output.as_json:
            output.document(made)
        else:
            output.line(f"until {made['until']} any machine becomes a host of this cloud with:")
            output.line(f"  sudo holdfast join {made['url']} --token {made['token']}")
            output.line(f"to end that: holdfast token --revoke {made['id']}")
    return 0


def join_arguments(parser: ArgumentParser) -> None:
    """Where the cloud is, and settings of this machine, which are kept."""
    parser.add_argument("url", metavar="URL", help="ADDRESS or https://ADDRESS:PORT; replicas with commas between")
    parser.add_argument("--token", required=True, metavar="T", help="from `holdfast token`; - reads it from a pipe")
    parser.add_argument("--name", default="", metavar="NAME", help="of the host (default: this machine's own)")
    parser.add_argument("--zone", metavar="NAME", help="its availability zone (default: the cloud's)")
    parser.add_argument("--tunnel", metavar="ADDRESS", help="this machine's own (default: the one towards the cloud)")
    parser.add_argument("--shared", metavar="DIR", help="directory that the hosts share, mounted here, too")
    parser.add_argument("--hypervisor", choices=("qemu", "simulated"), help="real guests, or rows that pretend")
    parser.add_argument("--prefix", metavar="WORD", help="of every kernel object (default: hf)")


def join_run(options: Namespace, output: Output) -> int:
    """Join, and see that this host holds its lease."""
    if not options.url:
        raise BadInput("join what? next, on the cloud's machine: holdfast token")
    from holdfast.daemon.joining.join import join

    return join(options)
