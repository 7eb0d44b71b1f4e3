"""Which kernel modules the guest needs, in which form: read from the modules themselves.

Dependencies and aliases stand in each module's .modinfo section, so neither depmod nor kmod is needed.
Names are compared with underscores, as the kernel does.
"""

from __future__ import annotations

import gzip
import lzma
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from holdfast.base.errors import NotFound
from holdfast.base.limits import COMPRESS_S
from holdfast.base.run import run

_SIGNATURE = b"~Module signature appended~\n"
_SIGNATURE_HEAD_BYTES = 12  # struct module_signature; its last four bytes are the signature's size


@dataclass(frozen=True, slots=True)
class Module:
    """One loadable module, unpacked and without its signature."""

    name: str
    data: bytes
    depends: tuple[str, ...]
    aliases: tuple[str, ...]


def modules_gather(tree: Path, wanted: Iterable[str]) -> dict[str, Module]:
    """Return the wanted modules and all they depend on; what is built into the kernel is left out.

    `tree` is lib/modules/RELEASE. Raises NotFound for a module that is neither there nor built in.
    """
    paths = {_name(path.name): path for path in tree.rglob("*.ko*")}
    builtin = {_name(line) for line in _lines(tree / "modules.builtin")}
    found: dict[str, Module] = {}
    waiting = [_name(name) for name in wanted]
    while waiting:
        name = waiting.pop()
        if name in found or name in builtin:
            continue
        if name not in paths:
            raise NotFound(f"kernel module {name} is not in {tree}")
        found[name] = _module(name, paths[name])
        waiting.extend(found[name].depends)
    return found


def dependency_order(modules: dict[str, Module], name: str) -> list[str]:
    """Everything that `name` needs, nearest first, as a line of modules.dep lists it."""
    order: list[str] = []
    waiting = [name]
    while waiting:
        for needed in modules[waiting.pop(0)].depends:
            if needed in modules:
                if needed in order:
                    order.remove(needed)
                order.append(needed)
                waiting.append(needed)
    return order


def modules_dep(modules: dict[str, Module]) -> bytes:
    """The modules.dep that modprobe reads, for modules that lie side by side."""
    lines = [
        f"{name}.ko:" + "".join(f" {needed}.ko" for needed in dependency_order(modules, name))
        for name in sorted(modules)
    ]
    return "".join(line + "\n" for line in lines).encode()


def modules_alias(modules: dict[str, Module]) -> bytes:
    """The modules.alias by which the kernel asks for file systems and modprobe finds drivers."""
    lines = [f"alias {alias} {name}" for name in sorted(modules) for alias in modules[name].aliases]
    return "".join(line + "\n" for line in lines).encode()


def _module(name: str, path: Path) -> Module:
    data = _unsigned(_decompressed(path))
    depends = re.search(rb"\0depends=([^\0]*)\0", data)
    names = depends.group(1).decode().split(",") if depends else []
    aliases = [alias.decode() for alias in re.findall(rb"\0alias=([^\0]+)", data)]
    return Module(name, data, tuple(_name(word) for word in names if word), tuple(aliases))


def _decompressed(path: Path) -> bytes:
    match path.suffix:
        case ".xz":
            return lzma.decompress(path.read_bytes())
        case ".gz":
            return gzip.decompress(path.read_bytes())
        case ".zst":
            return run(["zstd", "-dcq", str(path)], timeout_s=COMPRESS_S)
        case _:
            return path.read_bytes()


def _unsigned(data: bytes) -> bytes:
    """Drop the signature: checking it costs an emulated guest milliseconds per module, and nothing asks for it."""
    if not data.endswith(_SIGNATURE):
        return data
    body = data[: -len(_SIGNATURE)]
    return body[: -_SIGNATURE_HEAD_BYTES - int.from_bytes(body[-4:], "big")]


def _name(path: str) -> str:
    return path.rpartition("/")[2].partition(".")[0].replace("-", "_")


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []
