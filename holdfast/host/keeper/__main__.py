"""`python -m holdfast.host.keeper`: see keep.py for what it does and never does."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from holdfast.base.errors import HoldfastError
from holdfast.base.log import get, sink
from holdfast.host.keeper.keep import keep
from holdfast.host.keeper.renewal import Renewals, parse_endpoint
from holdfast.host.keeper.watchdog import Watchdog

log = get(__name__)


def main(argv: list[str]) -> int:
    """Keep until killed; 1 when that is not possible."""
    parser = argparse.ArgumentParser(prog="holdfast-keeper", description="Keeps the lease of one compute host.")
    parser.add_argument("--state", type=Path, required=True, help="state directory of the QEMU driver")
    parser.add_argument("--endpoint", required=True, help="address of the control plane; several with commas between")
    parser.add_argument(
        "--token-file",
        type=Path,
        required=True,
        help="file that holds the host's token, with its certificates beside it",
    )
    parser.add_argument("--host", required=True, help="id of this host")
    parser.add_argument("--log", type=Path, help="log file (default: standard error)")
    parser.add_argument("--watchdog", type=Path, help="watchdog device to arm while a lease enforces")
    options = parser.parse_args(argv)
    if options.log:
        sink.open_file(options.log, "keeper")
    try:
        options.state.mkdir(parents=True, exist_ok=True)
        endpoints = [parse_endpoint(each) for each in options.endpoint.split(",")]
        renew = Renewals(endpoints, options.host, options.token_file)
        keep(options.state.resolve(), renew, Watchdog(options.watchdog))
    except HoldfastError as err:
        log.error("keeper_stopped", reason=err.message)
    return 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
