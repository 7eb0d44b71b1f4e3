"""What one host should be: the whole desired state that an agent fetches and makes true.

The control plane computes a `DesiredHost` from the store and the agent compares it with reality; there are
no commands, so a lost, doubled or late message changes nothing. Sequence numbers ask for acts that leave
no other trace: a machine whose `boot` is higher than the one the host last reached is restarted, whose
`disk` is higher gets a fresh root disk. The host keeps the numbers it reached on its disk, and reports them.

Instants are microseconds since the epoch; MACs are lower case with colons; addresses are text.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec


class Power(StrEnum):
    """The power state that is asked for."""

    RUNNING = "running"
    STOPPED = "stopped"
    PAUSED = "paused"  # processors halted, memory kept


class ImageSource(msgspec.Struct, frozen=True):
    """An image to boot from. `sha512` is of the stored bytes; the host verifies it after each fetch."""

    id: str
    sha512: str
    size_bytes: int
    disk_format: str  # raw, qcow2, vmdk, vhd, vhdx or vdi as the inspector found, never as claimed; or aki, ari


class Interface(msgspec.Struct, frozen=True):
    """One network card of a machine: a port in a network."""

    network_id: str
    mtu: int
    port: Port


class VolumeFile(msgspec.Struct, frozen=True):
    """The file of a volume or of a snapshot on this host. With neither `image` nor `copy_of` it begins as zeros."""

    id: str
    generation: int  # grows with every change of this record
    present: bool  # False: remove it; stays until the host reports it gone
    made: bool  # it was whole once: if it is missing now, that is reported and nothing is made in its place
    size_gib: int  # it only ever grows
    image: ImageSource | None
    copy_of: str  # id of the file on this host that it begins as a copy of; nobody writes to that meanwhile


class AttachedVolume(msgspec.Struct, frozen=True):
    """A volume that a machine has; its file is there before this is said."""

    volume_id: str
    slot: int  # of the machine's hot-plug ports
    size_gib: int


class MoveRole(StrEnum):
    """Which end of a move a host is."""

    SEND = "send"  # it owns the instance and runs it
    RECEIVE = "receive"  # it does not own it, and runs nothing before it does


class MoveEnd(msgspec.Struct, frozen=True):
    """Where the receiving host listens, in its driver's words: from its report to the sender's record, unread."""

    address: str
    port: int
    disks_port: int = 0


class Move(msgspec.Struct, frozen=True):
    """A live move that a machine is to take part in. Gone from the record: the host that has it owns the instance."""

    id: str  # of this try; a try that failed is never taken up again
    role: MoveRole
    key: str  # 32 bytes as hexadecimal digits, for this try alone; both ends know each other by it
    copy: str  # none: both open the same disk; top: what stands above the image's base; full: every byte
    address: str = ""  # RECEIVE: to listen on
    end: MoveEnd | None = None  # SEND: where the other end listens; None: not known yet, nothing is sent

    def __repr__(self) -> str:
        """Without the key: records are logged."""
        return f"Move({self.id}, {self.role.value}, copy={self.copy})"


class Machine(msgspec.Struct, frozen=True):
    """One instance on this host."""

    instance_id: str
    name: str
    generation: int  # grows with every change of this record; an older one than seen before is ignored
    present: bool  # False: end it and remove every trace; stays until the host reports it gone
    power: Power
    boot: int  # restart once when higher than reached
    soft: bool  # the restart or stop asked for is a soft one: power button first
    disk: int  # fresh root disk from `image` when higher than reached
    vcpus: int
    memory_mib: int
    disk_gib: int  # size of the root disk; 0: the image's own virtual size
    capture_image_id: str  # upload the root disk into this image; empty: nothing to capture
    image: ImageSource
    kernel: ImageSource | None
    ramdisk: ImageSource | None
    kernel_arguments: str
    interfaces: tuple[Interface, ...]
    config_drive: bool
    metadata: Metadata
    disk_made: int = 0  # the root disk of this number exists: it is opened, and never made
    volumes: tuple[AttachedVolume, ...] = ()
    move: Move | None = None
    priority: int = 50  # 0 to 100: when a host comes up, it starts the highest first
    keep_disk: bool = False  # with `present` false: it may run elsewhere, with this disk, which stays


class Metadata(msgspec.Struct, frozen=True):
    """What the guest is told about itself over 169.254.169.254 or its config drive, in both dialects."""

    instance_id: str
    ec2_instance_id: str  # i-0123abcd
    ec2_image_id: str
    instance_type: str
    name: str
    hostname: str
    project_id: str
    availability_zone: str
    user_data: str  # base64; empty: none
    keys: tuple[tuple[str, str], ...]  # (name, public key)
    properties: tuple[tuple[str, str], ...]  # the server's metadata items
    security_groups: tuple[str, ...]
    created_us: int


class Port(msgspec.Struct, frozen=True):
    """A port of a network that is plugged on this host."""

    id: str
    instance_id: str
    mac: str
    addresses: tuple[PortAddress, ...]
    hostname: str
    security_groups: tuple[str, ...]  # empty with `filtered`: nothing passes but DHCP and metadata
    filtered: bool  # port security: anti-spoofing and security groups
    allowed_pairs: tuple[tuple[str, str], ...]  # (mac, cidr) that may be a source beside its own
    admin_up: bool


class PortAddress(msgspec.Struct, frozen=True):
    """A fixed address of a port, with the floating address that leads to it and its public name, if any."""

    address: str
    subnet_id: str
    floating: str  # empty: none


class Subnet(msgspec.Struct, frozen=True):
    """A range of a network."""

    id: str
    cidr: str
    gateway: str  # empty: none
    dhcp: bool
    dhcp_address: str  # the host-local address that answers DHCP, DNS and metadata; reserved in the subnet
    nameservers: tuple[str, ...]
    routes: tuple[tuple[str, str], ...]  # (destination cidr, next hop)


class Network(msgspec.Struct, frozen=True):
    """A tenant network with at least one port on this host."""

    id: str
    vni: int  # VXLAN network identifier, 1 to 16777215, unique per cloud
    mtu: int
    subnets: tuple[Subnet, ...]
    ports: tuple[Port, ...]  # plugged here
    remote: tuple[tuple[str, str, str], ...]  # (mac, address, host tunnel address) of ports elsewhere


class RouterInterface(msgspec.Struct, frozen=True):
    """A router's leg in a tenant network: the gateway address of a subnet."""

    network_id: str
    mac: str
    address: str
    cidr: str


class Floating(msgspec.Struct, frozen=True):
    """A public address of a port on this host."""

    id: str
    address: str
    fixed: str
    network_id: str


class Router(msgspec.Struct, frozen=True):
    """A router, present on every host that has ports behind it."""

    id: str
    interfaces: tuple[RouterInterface, ...]
    external_network_id: str  # empty: no way out
    external_address: str
    external_mac: str
    snat: bool
    floating: tuple[Floating, ...]
    routes: tuple[tuple[str, str], ...]


class External(msgspec.Struct, frozen=True):
    """A public network as this host provides it: a bridge in the host's own namespace."""

    network_id: str
    cidr: str
    gateway: str  # this host answers as the gateway
    masquerade: bool  # hide it behind the host's own address on the way out


class Rule(msgspec.Struct, frozen=True):
    """One security group rule. Empty text and -1 mean any."""

    direction: str  # ingress, egress
    ethertype: str  # IPv4, IPv6
    protocol: str  # tcp, udp, icmp, ipv6-icmp, or a number as text
    port_min: int  # for icmp: the type
    port_max: int  # for icmp: the code
    remote_cidr: str
    remote_group: str


class SecurityGroup(msgspec.Struct, frozen=True):
    """A group used by a port on this host, or named by a rule of one."""

    id: str
    rules: tuple[Rule, ...]
    members: tuple[str, ...]  # addresses of every port in the group, on any host


class HostUpdate(msgspec.Struct, frozen=True):
    """What an agent fetches: everything that is newer than the version it has.

    Objects are whole, never differences, so applying one twice or skipping one is harmless. `full` says that
    what is not named does not exist. `network` is None when nothing in it changed since; the networks in it
    have no `ports`: those come with the machines.
    """

    version: int
    full: bool
    machines: tuple[Machine, ...]
    network: NetworkState | None
    volumes: tuple[VolumeFile, ...] = ()


class NetworkState(msgspec.Struct, frozen=True):
    """The network objects that this host needs, all of them."""

    networks: tuple[Network, ...]
    routers: tuple[Router, ...]
    externals: tuple[External, ...]
    security_groups: tuple[SecurityGroup, ...]


class DesiredHost(msgspec.Struct, frozen=True):
    """Everything, as the agent puts it together from updates; what the host's network and audit work with."""

    version: int
    host_id: str
    machines: tuple[Machine, ...]
    networks: tuple[Network, ...]
    routers: tuple[Router, ...]
    externals: tuple[External, ...]
    security_groups: tuple[SecurityGroup, ...]
