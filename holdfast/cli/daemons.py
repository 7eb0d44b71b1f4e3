"""`up`, `down`, `destroy`, `status`, `audit`: the cloud of this machine itself.

What they do is in holdfast.daemon, which is imported when it is needed: no other command pays for it.
"""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from holdfast.cli.output import Output


def up_arguments(parser: ArgumentParser) -> None:
    """Settings; they are kept, so that the next `up` needs none.

    The store's URL is none of them: it may hold a password, and arguments are seen by everybody. It is HOLDFAST_STORE.
    """
    parser.add_argument("--hypervisor", choices=("qemu", "simulated"), help="real guests, or rows that pretend")
    parser.add_argument("--listen", metavar="ADDRESS", help="where the API listens (default: 127.0.0.1)")
    parser.add_argument("--port", type=int, metavar="N", help="the one port of every service (default: 5000)")
    parser.add_argument("--hosts-listen", metavar="ADDRESS", help="where hosts of other machines may come in, over TLS")
    parser.add_argument("--hosts-port", type=int, metavar="N", help="the port for them (default: 5001)")
    parser.add_argument("--public-url", metavar="URL", help="how clients reach it, behind a proxy")
    parser.add_argument("--region", metavar="NAME", help="its name for clients (default: RegionOne)")
    parser.add_argument("--private-cidr", metavar="CIDR", help="the first network (default: 10.77.0.0/24)")
    parser.add_argument("--public-cidr", metavar="CIDR", help="the public addresses (default: 172.24.4.0/24)")
    parser.add_argument("--hosts", type=int, metavar="N", help="compute hosts on this machine (default: as there are)")
    parser.add_argument(
        "--control-only", action="store_true", help="one more control replica, on a machine that is no compute host"
    )
    parser.add_argument(
        "--underlay-cidr", metavar="CIDR", help="between several hosts of this machine (default: 198.19.0.0/16)"
    )
    parser.add_argument(
        "--prefix", metavar="WORD", help="of every kernel object, 1 to 5 letters or digits (default: hf)"
    )


def up_run(options: Namespace, output: Output) -> int:
    """Bring the cloud up, and see that it works."""
    from holdfast.daemon.up import up

    return up(options)


def down_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""


def down_run(options: Namespace, output: Output) -> int:
    """Stop the cloud and keep everything."""
    from holdfast.daemon.down import down

    return down(options)


def destroy_arguments(parser: ArgumentParser) -> None:
    """It must be meant."""
    parser.add_argument("--yes", action="store_true", help="yes: every server, disk, image and key")


def destroy_run(options: Namespace, output: Output) -> int:
    """Remove every trace, and prove it."""
    from holdfast.daemon.down import destroy

    return destroy(options)


def build_arguments(parser: ArgumentParser) -> None:
    """Which image."""
    parser.add_argument("kind", metavar="debian", choices=("debian",), help="a Debian with the real cloud-init")
    parser.add_argument("--suite", default="bookworm", metavar="NAME", help="its release (default: bookworm)")
    parser.add_argument(
        "--min-ram-mib", type=int, default=512, metavar="N", help="flavors with less are refused (default: 512)"
    )


def build_run(options: Namespace, output: Output) -> int:
    """Build it, upload it; root and debootstrap are needed."""
    from holdfast.daemon.first_image import debian_ensure

    return debian_ensure(options)


def status_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""


def status_run(options: Namespace, output: Output) -> int:
    """What runs here."""
    from holdfast.daemon.status import status

    return status(options)


def audit_arguments(parser: ArgumentParser) -> None:
    """It has none of its own."""


def audit_run(options: Namespace, output: Output) -> int:
    """Whatever is out of order, in the store and on this machine."""
    from holdfast.daemon.audit import audit

    return audit(options)
