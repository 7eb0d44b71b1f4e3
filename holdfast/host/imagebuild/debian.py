"""A Debian with the real cloud-init, for what the tiny guest cannot show: made as root, in minutes.

debootstrap makes the base, apt inside it the rest, in a mount and process namespace of their own, so that
nothing stays mounted or running whatever happens. The result boots as kernel, ramdisk and a disk without
partitions; it holds no host key, no machine id and no password.
"""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import dataclass
from pathlib import Path

from holdfast.base.errors import BadInput, Forbidden, Unavailable
from holdfast.base.limits import DEBIAN_BASE_TRIES, DEBIAN_BUILD_S, DEBIAN_DISK_MIB
from holdfast.base.run import run
from holdfast.host.imagebuild.kernel import kernel_direct
from holdfast.host.imagebuild.packages import Progress
from holdfast.host.imagebuild.publish import directory_publish

LOGIN = "debian"
KERNEL_ARGUMENTS = "console=ttyS0 root=/dev/vda rw quiet cryptomgr.notests"

_FORMAT = "2"  # counts changes of what this module makes
_PACKAGES = (
    *("linux-image-cloud-amd64", "cloud-init", "openssh-server", "ifupdown", "isc-dhcp-client", "iproute2"),
    *("sudo", "netbase", "ca-certificates", "nfs-common", "e2fsprogs", "dbus", "libpam-systemd", "iputils-ping"),
)
_CLOUD_INIT = b"""# No locale is installed, so none is chosen (as text: cloud-init's schema wants that).
# The host's own name resolves, or sudo complains.
datasource_list: [ConfigDrive, NoCloud, OpenStack, Ec2, None]
locale: "false"
manage_etc_hosts: true
"""
_INSTALL = r"""
set -e
cache=$1; tree=$2; shift 2
mount -t proc proc "$tree/proc"
mount -t sysfs -o ro sys "$tree/sys"
mount --bind "$cache" "$tree/var/cache/apt/archives"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
chroot "$tree" apt-get -qq -o Acquire::Retries=3 update
chroot "$tree" apt-get -qq -o Acquire::Retries=3 install --yes --no-install-recommends "$@"
"""


@dataclass(frozen=True, slots=True)
class DebianImage:
    """Three files, and how to use them."""

    kernel: Path
    ramdisk: Path
    disk: Path
    disk_format: str
    login: str
    kernel_arguments: str


def build_debian(target: Path, cache: Path, suite: str, progress: Progress) -> DebianImage:
    """Return the image of a Debian release below `target`, built unless it is there. Needs root and debootstrap."""
    if not re.fullmatch(r"[a-z]{3,20}", suite):
        raise BadInput(f"{suite!r} is no name of a Debian release")
    final = target / f"debian-{suite}-{_FORMAT}"
    if not final.exists():
        _check()
    directory_publish(final, lambda partial: _fill(partial, cache.absolute(), suite, progress))
    return DebianImage(
        kernel=final / "kernel",
        ramdisk=final / "ramdisk",
        disk=final / "disk.qcow2",
        disk_format="qcow2",
        login=LOGIN,
        kernel_arguments=KERNEL_ARGUMENTS,
    )


def _check() -> None:
    if os.geteuid() != 0:
        raise Forbidden("a Debian image is built by root: debootstrap makes devices and changes owners")
    if shutil.which("debootstrap") is None:
        raise Unavailable("debootstrap is not installed: apt-get install debootstrap")


def _fill(target: Path, cache: Path, suite: str, progress: Progress) -> None:
    tree, debs = target / "tree", cache / f"debian-{suite}"
    (debs / "partial").mkdir(parents=True, exist_ok=True)
    progress(f"making the base of {suite}")
    _base_make(tree, debs, suite)
    _write(tree, "usr/sbin/policy-rc.d", b"#!/bin/sh\nexit 101\n", 0o755)  # no service starts inside the build
    _write(tree, "etc/apt/apt.conf.d/keep", b'Binary::apt::APT::Keep-Downloaded-Packages "true";\n')
    progress("installing the kernel and cloud-init")
    unshared = ["unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _INSTALL, "install"]
    run([*unshared, str(debs), str(tree), *_PACKAGES], timeout_s=DEBIAN_BUILD_S)
    progress("making the disk")
    _generalise(tree)
    kernel = next(iter(sorted((tree / "boot").glob("vmlinuz-*")))).read_bytes()
    (target / "kernel").write_bytes(kernel_direct(kernel) or kernel)
    shutil.copyfile(next(iter(sorted((tree / "boot").glob("initrd.img-*")))), target / "ramdisk")
    _disk_make(tree, target / "disk.qcow2")
    shutil.rmtree(tree)


def _base_make(tree: Path, debs: Path, suite: str) -> None:
    """Run debootstrap, again when it failed: it gives up at the first lost download, but keeps the others."""
    for _ in range(DEBIAN_BASE_TRIES - 1):
        try:
            _debootstrap(tree, debs, suite)
            return
        except Unavailable:
            shutil.rmtree(tree, ignore_errors=True)
    _debootstrap(tree, debs, suite)


def _debootstrap(tree: Path, debs: Path, suite: str) -> None:
    run(["debootstrap", "--variant=minbase", f"--cache-dir={debs}", suite, str(tree)], timeout_s=DEBIAN_BUILD_S)


def _generalise(tree: Path) -> None:
    """Take out what two instances must not share, and tell cloud-init where to look."""
    (tree / "usr/sbin/policy-rc.d").unlink()
    (tree / "etc/apt/apt.conf.d/keep").unlink()
    for key in (tree / "etc/ssh").glob("ssh_host_*_key*"):
        key.unlink()
    _write(tree, "etc/machine-id", b"")
    _write(tree, "etc/hostname", b"debian\n")
    _write(tree, "etc/fstab", b"/dev/vda / ext4 errors=remount-ro 0 1\n")
    _write(tree, "etc/cloud/cloud.cfg.d/90_holdfast.cfg", _CLOUD_INIT)
    for lists in (tree / "var/lib/apt/lists").glob("*_*"):
        lists.unlink()


def _write(tree: Path, name: str, data: bytes, mode: int = 0o644) -> None:
    """Replace a file of the tree; a link is replaced, not followed out of the tree."""
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    path.write_bytes(data)
    path.chmod(mode)


def _disk_make(tree: Path, path: Path) -> None:
    raw = path.with_suffix(".raw")
    raw.touch()
    os.truncate(raw, DEBIAN_DISK_MIB << 20)
    run(["mkfs.ext4", "-q", "-F", "-L", "debian", "-d", str(tree), str(raw)], timeout_s=DEBIAN_BUILD_S)
    packed = ["-c", "-o", "compression_type=zstd", "-f", "raw", "-O", "qcow2"]
    run(["qemu-img", "convert", *packed, str(raw), str(path)], timeout_s=DEBIAN_BUILD_S)
    raw.unlink()
