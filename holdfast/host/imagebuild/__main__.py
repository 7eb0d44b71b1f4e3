"""`python -m holdfast.host.imagebuild`: what `make` and operators call. Progress goes to standard error."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from holdfast.base.errors import HoldfastError
from holdfast.host.imagebuild.debian import DebianImage, build_debian
from holdfast.host.imagebuild.packages import parts_fetch
from holdfast.host.imagebuild.tiny import TinyImage, build_tiny


def main(argv: list[str]) -> int:
    options = _parser().parse_args(argv)
    try:
        if options.command == "fetch":
            parts_fetch(options.cache, _say)
        elif options.command == "tiny":
            _show(build_tiny(options.target, options.cache, _say))
        else:
            _show(build_debian(options.target, options.cache, options.suite, _say))
    except HoldfastError as err:
        _say(f"error: {err.message}")
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m holdfast.host.imagebuild")
    commands = parser.add_subparsers(dest="command", required=True)
    fetch = commands.add_parser("fetch", help="download and unpack the packages the tiny image is made of")
    tiny = commands.add_parser("tiny", help="build the tiny image, or find it built")
    debian = commands.add_parser("debian", help="build a Debian with cloud-init, as root, or find it built")
    debian.add_argument("--suite", default="bookworm", help="the release's name")
    for command in (fetch, tiny, debian):
        command.add_argument("--cache", type=Path, required=True, help="where packages are kept")
    for command in (tiny, debian):
        command.add_argument("--target", type=Path, required=True, help="where the image goes")
    return parser


def _show(image: TinyImage | DebianImage) -> None:
    sys.stdout.write(f"kernel {image.kernel}\nramdisk {image.ramdisk}\ndisk {image.disk}\n")
    sys.stdout.write(f"arguments {image.kernel_arguments}\nlogin {image.login}\n")


def _say(text: str) -> None:
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
