"""One question to a Redfish controller, as a process: JSON on standard input, `on` or `off` on standard output.

Basic authentication, not a session: controllers keep few sessions and one that is never closed shuts people out.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

import msgspec

from holdfast.base.limits import FENCE_ASK_S
from holdfast.control.fencing.driver import Action


def main() -> int:
    """Ask once; status 1 and the reason on standard error where there is no answer."""
    logging.disable()  # the library logs requests; what counts is in its error
    asked = msgspec.json.decode(sys.stdin.buffer.read())
    try:
        print(_ask(asked))
    except Exception as err:  # a library's whole family, and those of the ones below it
        print(f"{type(err).__name__}: {err}", file=sys.stderr)
        return 1
    return 0


def _ask(asked: dict[str, Any]) -> str:
    import sushy
    from sushy.auth import BasicAuth

    controller = sushy.Sushy(
        asked["address"],
        auth=BasicAuth(asked["username"], asked["secret"]),
        verify=asked["ca"] or True,
        server_side_retries=1,  # `power` tries again, and is bounded
        server_side_retries_delay=1,
        read_timeout=FENCE_ASK_S,
        connect_timeout=FENCE_ASK_S,
    )
    system = controller.get_system(asked["system"] or None)
    if asked["action"] == Action.OFF:
        system.reset_system(sushy.ResetType.FORCE_OFF)
        return "asked"
    state = system.power_state
    if state is None:
        return "unknown"
    return "off" if state == sushy.PowerState.OFF else "on"  # on its way off is still on


if __name__ == "__main__":
    sys.exit(main())
