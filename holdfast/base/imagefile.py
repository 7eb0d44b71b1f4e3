"""What an image file really is: asked of a short-lived process with few rights (base/imageprobe).

Both the image service and the hosts ask, and neither may import the other; it starts a process, so it is no
rule of the domain: therefore it is here. No tool of QEMU ever sees a file before this has passed it.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import msgspec

from holdfast.base.errors import BadInput
from holdfast.base.limits import IMAGE_INSPECT_S, IMAGE_VIRTUAL_BYTES
from holdfast.base.run import CommandFailed, run

PROBE = Path(__file__).with_name("imageprobe.py")


@dataclass(frozen=True, slots=True)
class Inspected:
    """What was found: `format` is raw for everything that is the disk itself (ami, aki, ari, iso)."""

    format: str
    virtual_bytes: int


class ImageRefused(BadInput):
    """The content is not what it claims to be, or is unsafe to open."""

    code = "image_refused"


class _Verdict(msgspec.Struct):
    format: str = ""
    virtual: int = 0
    refused: str = ""


def image_inspect(path: Path, claimed: str, virtual_bytes_max: int = IMAGE_VIRTUAL_BYTES) -> Inspected:
    """Return what the file is; raises ImageRefused with the reason, for its owner to read."""
    argv = [sys.executable, "-I", str(PROBE), str(path), claimed, str(virtual_bytes_max), str(IMAGE_INSPECT_S)]
    try:
        verdict = msgspec.json.decode(run(argv, timeout_s=2 * IMAGE_INSPECT_S, env={}), type=_Verdict)
    except (CommandFailed, msgspec.DecodeError) as err:
        raise ImageRefused("the image could not be inspected within its limits", detail=str(err)) from err
    if verdict.refused:
        raise ImageRefused(verdict.refused)
    return Inspected(verdict.format, verdict.virtual)
