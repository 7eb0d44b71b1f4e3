"""The tiny test guest: a kernel, a ramdisk of busybox and dropbear, and a small disk that keeps what it learns.

The finished files lie in a directory named after the scripts that went in, so a new release of Holdfast builds
its own and never mixes with an older one; what is there is complete (see publish).
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from holdfast.base.limits import PROGRAM_S, TINY_DISK_MIB
from holdfast.base.run import run
from holdfast.host.imagebuild.cpio import Archive
from holdfast.host.imagebuild.kernelmodules import modules_alias, modules_dep, modules_gather
from holdfast.host.imagebuild.packages import Parts, Progress, parts_fetch
from holdfast.host.imagebuild.publish import directory_publish

LOGIN = "root"
# What is left out of the boot is what a test guest does not need: the kernel's own tests of its ciphers (0.2 s
# of an emulated processor) and clearing memory that will be written anyway (0.1 s).
KERNEL_ARGUMENTS = "console=ttyS0 quiet cryptomgr.notests init_on_alloc=0 panic=10"

_GZIP_LEVEL = 1  # boots as fast as none, zstd and lz4 (measured), and takes 0.1 s where level 9 takes 3 s
_FORMAT = "1"  # counts changes of what this module makes that do not show in the guest's scripts
_MODULES = (
    *("virtio_pci", "virtio_net", "virtio_blk", "virtio_rng", "virtio_balloon", "button", "evdev"),
    *("ext4", "isofs", "vfat", "nls_cp437", "nls_ascii", "nls_utf8", "nls_iso8859_1", "nfsv4"),
)
_DIRECTORIES = (
    *("bin", "sbin", "dev", "proc", "sys", "run", "tmp", "etc", "etc/dropbear", "root", "home", "home/demo"),
    *("var", "disk", "mnt", "guest", "lib", "lib64", "lib/modules", "usr", "usr/bin", "usr/sbin"),
)
_PASSWD = b"root:*:0:0:root:/root:/bin/sh\ndemo:*:1000:1000:demo:/home/demo:/bin/sh\n"
_GROUP = b"root:x:0:\ndemo:x:1000:\n"
_PROFILE = b"export PATH=/bin:/sbin:/usr/bin:/usr/sbin\nPS1='\\u@\\h:\\w\\$ '\n"


@dataclass(frozen=True, slots=True)
class TinyImage:
    """Three files, and how to use them: the login that takes the instance's key, the kernel's arguments."""

    kernel: Path
    ramdisk: Path
    disk: Path
    disk_format: str
    login: str
    kernel_arguments: str


def build_tiny(target: Path, cache: Path, progress: Progress) -> TinyImage:
    """Return the tiny image below `target`, built unless it is there; packages come from, or go to, `cache`.

    May be called by any number of processes at once; one builds, the others wait for it.
    """
    final = target / f"tiny-{_fingerprint()}"
    directory_publish(final, lambda partial: _fill(partial, parts_fetch(cache, progress), progress))
    return TinyImage(
        kernel=final / "kernel",
        ramdisk=final / "ramdisk",
        disk=final / "disk.qcow2",
        disk_format="qcow2",
        login=LOGIN,
        kernel_arguments=KERNEL_ARGUMENTS,
    )


def ramdisk_archive(parts: Parts) -> bytes:
    """The guest's whole first file system."""
    archive = Archive()
    for name in _DIRECTORIES:
        archive.directory(name, 0o1777 if name == "tmp" else 0o755)
    archive.character_device("dev/console", 5, 1)
    _programs_add(archive, parts)
    _modules_add(archive, parts.modules)
    for name, text in _scripts():
        archive.file(f"guest/{name}", text, 0o755)
    archive.symlink("init", "guest/init")
    archive.symlink("etc/inittab", "../guest/inittab")
    archive.symlink("etc/resolv.conf", "../run/resolv.conf")
    for name, data in (("passwd", _PASSWD), ("group", _GROUP), ("profile", _PROFILE), ("shells", b"/bin/sh\n")):
        archive.file(f"etc/{name}", data)
    return archive.finish()


def _programs_add(archive: Archive, parts: Parts) -> None:
    archive.file("bin/busybox", parts.busybox.read_bytes(), 0o755)
    applets = run([str(parts.busybox), "--list"], timeout_s=PROGRAM_S).decode().split()
    for applet in applets:
        if applet not in ("busybox", "init"):  # a link over the program itself would be a loop
            archive.symlink(f"bin/{applet}", "busybox")
    archive.symlink("sbin/init", "../bin/busybox")
    archive.symlink("sbin/modprobe", "../bin/busybox")  # where the kernel looks for it
    archive.file("bin/dropbear", parts.dropbear.read_bytes(), 0o755)
    archive.file("lib64/ld-linux-x86-64.so.2", parts.loader.read_bytes(), 0o755)
    for library in parts.libraries:
        if library.name == parts.loader.name:
            continue
        archive.file(f"lib/{library.name}", library.read_bytes(), 0o755)


def _modules_add(archive: Archive, tree: Path) -> None:
    modules = modules_gather(tree, _MODULES)
    place = f"lib/modules/{tree.name}"
    archive.directory(place)
    for name in sorted(modules):
        archive.file(f"{place}/{name}.ko", modules[name].data)
    archive.file(f"{place}/modules.dep", modules_dep(modules))
    archive.file(f"{place}/modules.alias", modules_alias(modules))


def _fill(target: Path, parts: Parts, progress: Progress) -> None:
    progress("building the tiny guest image")
    (target / "ramdisk").write_bytes(gzip.compress(ramdisk_archive(parts), _GZIP_LEVEL, mtime=0))
    try:
        os.link(parts.kernel, target / "kernel")
    except OSError:
        shutil.copyfile(parts.kernel, target / "kernel")
    _disk_make(target / "disk.qcow2")


def _disk_make(path: Path) -> None:
    """An empty ext4 under the label that the guest looks for."""
    raw = path.with_suffix(".raw")
    raw.touch()
    os.truncate(raw, TINY_DISK_MIB << 20)
    run(["mkfs.ext4", "-q", "-F", "-L", "holdfast", "-m", "0", str(raw)], timeout_s=PROGRAM_S)
    run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", str(raw), str(path)], timeout_s=PROGRAM_S)
    raw.unlink()


def _scripts() -> list[tuple[str, bytes]]:
    """The guest's scripts by name; Python's own files are not among them."""
    entries = resources.files("holdfast.guest").iterdir()
    return sorted((entry.name, entry.read_bytes()) for entry in entries if entry.is_file() and "." not in entry.name)


def _fingerprint() -> str:
    digest = hashlib.sha256(f"{_FORMAT} {KERNEL_ARGUMENTS} {_MODULES}".encode())
    for name, text in _scripts():
        digest.update(name.encode() + b"\0" + text + b"\0")
    return digest.hexdigest()[:12]
