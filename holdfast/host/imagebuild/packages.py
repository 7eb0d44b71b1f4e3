"""The parts of a guest, from the distribution's packages, without installing any: download, unpack, pick.

Packages come through apt, which checks their signatures, and stay in the cache until somebody removes them;
when none can be downloaded, the machine's own kernel and programs serve. Nothing out of a package is run but
its dynamic loader, which lists libraries.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from holdfast.base.errors import HoldfastError, NotFound
from holdfast.base.limits import APT_S, PROGRAM_S
from holdfast.base.run import run
from holdfast.host.imagebuild.kernel import kernel_direct
from holdfast.host.imagebuild.publish import directory_publish

Progress = Callable[[str], None]

_KERNEL_PACKAGES = ("linux-image-cloud-amd64", "linux-image-virtual")  # Debian's, Ubuntu's
_PROGRAM_PACKAGES = ("busybox-static", "dropbear-bin")
_APT_PATIENCE = ("-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=10")  # seconds; offline is no error here
_LOADER = "lib64/ld-linux-x86-64.so.2"


@dataclass(frozen=True, slots=True)
class Parts:
    """What an image is made of."""

    kernel: Path
    modules: Path  # lib/modules/RELEASE
    busybox: Path
    dropbear: Path
    loader: Path
    libraries: tuple[Path, ...]  # what dropbear is linked to


def parts_fetch(cache: Path, progress: Progress) -> Parts:
    """Return the parts in the cache, downloaded and unpacked unless they are there; else the machine's own.

    Raises NotFound when neither way leads to a complete set.
    """
    final = cache.absolute() / "packages"
    try:
        directory_publish(final, lambda partial: _packages_unpack(partial, progress))
        return _parts_in(final)
    except HoldfastError as err:
        progress(f"packages cannot be had ({err.message}); trying this machine's own kernel")
        return parts_of_machine(Path("/"))


def kernel_at_hand(cache: Path) -> Path | None:
    """A kernel that a guest can be started with, from the cache or this machine; nothing is downloaded."""
    cached = cache.absolute() / "packages" / "kernel"
    return cached if cached.exists() else next(iter(reversed(_kernels_of(Path("/")))), None)


def _kernels_of(root: Path) -> list[Path]:
    return sorted((root / "boot").glob("vmlinuz-*"), key=lambda path: path.stat().st_mtime)


def parts_of_machine(root: Path) -> Parts:
    """The kernel and the programs that are installed here. Raises NotFound when one is missing."""
    kernels = _kernels_of(root)
    if not kernels:
        raise NotFound("no kernel in /boot; with a network, apt would bring one")
    kernel = kernels[-1]
    release = kernel.name.removeprefix("vmlinuz-")
    programs = {name: _program(name, root) for name in ("busybox", "dropbear")}
    loader = root / _LOADER
    return Parts(
        kernel=kernel,
        modules=root / "lib/modules" / release,
        busybox=programs["busybox"],
        dropbear=programs["dropbear"],
        loader=loader,
        libraries=_libraries(loader, programs["dropbear"], []),
    )


def _packages_unpack(target: Path, progress: Progress) -> None:
    debs = target / "debs"
    debs.mkdir()
    names = [*_kernel_names(), *_closure(_PROGRAM_PACKAGES)]
    progress(f"downloading {len(names)} packages")
    run(["env", "-C", str(debs), "apt-get", "-qq", *_APT_PATIENCE, "download", *names], timeout_s=APT_S)
    for deb in sorted(debs.iterdir()):
        progress(f"unpacking {deb.name}")
        run(["dpkg-deb", "-x", str(deb), str(target / "tree")], timeout_s=APT_S)
    shutil.rmtree(debs)
    tree = target / "tree"
    kernel = next(iter(sorted((tree / "boot").glob("vmlinuz-*"))))
    progress("unpacking the kernel")
    (target / "kernel").write_bytes(kernel_direct(data := kernel.read_bytes()) or data)


def _parts_in(cached: Path) -> Parts:
    tree = cached / "tree"
    modules = sorted((tree / "lib/modules").iterdir()) or sorted((tree / "usr/lib/modules").iterdir())
    loader = _first(tree, _LOADER, "usr/lib64/ld-linux-x86-64.so.2", "lib/x86_64-linux-gnu/ld-linux-x86-64.so.2")
    places = [str(tree / place) for place in ("lib/x86_64-linux-gnu", "usr/lib/x86_64-linux-gnu")]
    dropbear = _first(tree, "usr/sbin/dropbear")
    return Parts(
        kernel=cached / "kernel",
        modules=modules[0],
        busybox=_first(tree, "bin/busybox", "usr/bin/busybox"),
        dropbear=dropbear,
        loader=loader,
        libraries=_libraries(loader, dropbear, places),
    )


def _kernel_names() -> list[str]:
    """The packages that hold the newest cloud kernel and its modules, behind the distribution's own alias."""
    for alias in filter(_known, _KERNEL_PACKAGES):
        depends = run(["apt-cache", "depends", "--important", alias], timeout_s=PROGRAM_S).decode()
        for image in re.findall(r"Depends: (linux-image-[0-9]\S+)", depends):
            modules = image.replace("linux-image-", "linux-modules-")
            return [image, modules] if _known(modules) else [image]
    raise NotFound("no cloud kernel package is known to apt; `apt-get update` may help")


def _known(package: str) -> bool:
    return package in run(["apt-cache", "pkgnames", package], timeout_s=PROGRAM_S).decode().split()


def _closure(names: tuple[str, ...]) -> list[str]:
    """The packages and every package they depend on."""
    listed = run(["apt-cache", "depends", "--recurse", "--important", *names], timeout_s=PROGRAM_S).decode()
    return [line for line in listed.splitlines() if re.fullmatch(r"[a-z0-9][a-z0-9.+-]+", line)]


def _libraries(loader: Path, program: Path, places: list[str]) -> tuple[Path, ...]:
    """The files that the dynamic loader would map for a program."""
    search = ["--library-path", ":".join(places)] if places else []
    listed = run([str(loader), *search, "--list", str(program)], timeout_s=PROGRAM_S).decode()
    found = tuple(Path(place) for place in re.findall(r"=> (\S+)", listed))
    if missing := [str(path) for path in found if not path.is_absolute() or not path.is_file()]:
        raise NotFound(f"a library of {program.name} is missing: {missing[0]}")
    return found


def _program(name: str, root: Path) -> Path:
    return _first(root, *(f"{place}/{name}" for place in ("bin", "sbin", "usr/bin", "usr/sbin")))


def _first(root: Path, *names: str) -> Path:
    for name in names:
        if (root / name).is_file():
            return root / name
    raise NotFound(f"none of {', '.join(names)} is in {root}")
