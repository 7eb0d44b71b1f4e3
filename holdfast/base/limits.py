"""Every bound in one place: name, unit, and why that number. Nothing in Holdfast waits or grows for ever."""

from __future__ import annotations

from typing import Final

# logs
LOG_FILE_BYTES: Final = 32 << 20  # one generation of one process; two are kept, so 64 MiB per process at most
LOG_VALUE_CHARS: Final = 2_000  # one field; a guest's text may be large

# requests
REQUEST_BODY_BYTES: Final = 1 << 20  # JSON and form bodies; user data is 64 KiB, 20 personalities fit
NAME_CHARS: Final = 255  # OpenStack's own limit on names
USER_DATA_BYTES: Final = 65_535  # Nova's limit, base64 text
METADATA_ITEMS: Final = 128  # Nova's default quota
DESCRIPTION_CHARS: Final = 65_535  # of a flavor: Nova's limit
KEYPAIR_PUBLIC_BYTES: Final = 16_384  # Nova's column is larger; the longest key in use has 3 KiB
KEYPAIR_BITS: Final = 2_048  # of a key made here: Nova's and EC2's own; 30 ms of a core, 3072 bits 90 ms
PAGE_ROWS: Final = 1_000  # rows of one list answer; more is paged
ZONE_HINTS_MAX: Final = 16  # zones that one network or router is asked for; clients name one or two
GC_OBJECTS: Final = 50_000  # made and not freed until cycles are looked for; some MB
HANDLER_THREADS: Final = 12  # store calls run in these; more only queue at the store's one writer
GRACEFUL_SHUTDOWN_S: Final = 5  # open long polls would hold a stop for ever
SOCKET_BACKLOG: Final = 1024  # connections that wait while the control process is replaced
KEEP_ALIVE_S: Final = 90  # clients reuse idle connections for 75 s and take a reset for an error

# clients: the command line and the smoke test
CALL_S: Final = 60  # one request, from connect to the last byte; a held socket makes a client wait, not fail
ANSWER_BYTES: Final = 64 << 20  # of one answer; a thousand servers are 2 MiB
LIST_PAGES: Final = 1_000  # of one list; a service that links its pages in a ring does not hold a client for ever
TOKEN_SPARE_S: Final = 60  # a cached token with less left is not used: it would expire on the way
WATCH_S: Final = 0.25  # between two looks at a server that is changing
LAUNCH_SSH_S: Final = 120  # a guest in emulation needs 60 s on a slow machine; later is reported as "not yet"
SETTLE_S: Final = 120  # until a started, stopped or rebooted server is settled; STOP_GRACE_S and a slow host fit
REMOVE_S: Final = 120  # until a deleted server is gone; 1 s is usual
SSH_CONNECT_S: Final = 3  # a guest on the same host answers in milliseconds, or not yet
SSH_COMMAND_S: Final = 30  # one short command; key exchange takes 1 s in emulation
KEY_MAKE_S: Final = 20  # ssh-keygen, ed25519; milliseconds are usual
PROGRESS_LINE_S: Final = 10  # between two lines of progress where there is no terminal
CONSOLE_TAIL_LINES: Final = 15  # shown with a failure: what fits beside the error
SMOKE_CLIENTS: Final = 64  # threads of one run, each with its own connection; a host runs about that many guests
SMOKE_RUNNING_S: Final = 300  # every accepted request ends within OPERATION_DEADLINE_S
SMOKE_SSH_S: Final = 180  # an emulated guest beside others on a busy machine; 3 s is usual
SMOKE_GONE_S: Final = 120  # until a deleted server is gone; 1 s is usual

# tokens and signatures
TOKEN_LIFETIME_S: Final = 6 * 3600  # long enough for a slow walk, short enough to matter
TOKEN_CACHE_S: Final = 2  # how long another replica may still honour a revoked token
PASSWORD_CACHE_S: Final = 300  # a verified password is not hashed again for this long
TOKEN_KEYS_KEPT: Final = 4  # staged, sealing, and two that still open what they sealed; rotate at most daily
KEYS_LOOK_S: Final = 60  # keys that another replica made or dropped are known after this; far less than a rotation
KEYS_LOOK_SOON_S: Final = 1  # and after this where something does not open: no more often, whatever is shown to us
TOKEN_CACHE_ENTRIES: Final = 4_096  # about 2 KiB each; a token beyond them is checked against the store again
TOKEN_LINEAGE: Final = 64  # tokens that one came out of, 24 characters each in a token that must fit a header
TOKEN_CHARS: Final = 2_048  # ours have 200 to 1,800; anything longer is not worth the cipher
PASSWORD_CACHE_ENTRIES: Final = 10_000  # 32 bytes and an instant each
PASSWORD_BYTES: Final = 4_096  # as Keystone; hashing more is only work for us
PASSWORD_HASHES_AT_ONCE: Final = 2  # 16 MiB and 0.1 s of a core each: a storm of bad logins must not eat the host
PASSWORD_WAIT_S: Final = 20  # for a turn to hash; then the login is told to come back
IDENTITY_EXTRA_BYTES: Final = 8_192  # attributes that clients invent, per user or project
SIGNATURE_SKEW_S: Final = 15 * 60  # EC2's own window

# EC2
EC2_LIST_ITEMS: Final = 1_000  # of one list parameter; EC2's own limit on ids in one call
EC2_FILTER_VALUES: Final = 200  # of all filters of one call together; EC2's own limit
EC2_TERMINATED_SHOWN_S: Final = 3_600  # EC2's own: whoever waits for an end sees it for about an hour
EC2_CONSOLE_BYTES: Final = 64 << 10  # EC2 gives the last 64 KiB
PRESIGNED_LIFETIME_S: Final = 7 * 86_400  # the longest that signature version 4 lets a signed URL live

# store
STORE_BUSY_S: Final = 30  # a writer that cannot get the lock for this long reports Unavailable
STORE_WAL_BYTES: Final = 16 << 20  # kept of the write-ahead log once nobody reads what is older; 4 MiB are usual
STORE_RETRIES: Final = 8  # conflicts in a row before Unavailable
STORE_ALONE_AFTER: Final = 3  # conflicts in a row; then a write of PostgreSQL has the store to itself and comes through
STORE_AWAY_S: Final = 20  # a database that starts again or fails over is waited for; then Unavailable
STORE_CONNECT_S: Final = 5  # to connect, and until a server that says nothing any more counts as gone
COMMIT_MARKS_KEPT_S: Final = 86_400  # of processes that are gone; far longer than a lost answer is looked for
STORE_HINT_PAUSE_S: Final = 1  # until hints between replicas are tried again
STORE_FROZEN_S: Final = 5  # a replica that stands still in a transaction loses it: others wait for its rows

# operations
OPERATION_LEASE_S: Final = 15  # a worker that dies holds a resource up for this long at most
OPERATION_DEADLINE_S: Final = 300  # every accepted request ends: 60 s healthy, 300 s after a fault heals
CAPTURE_DEADLINE_S: Final = 1800  # a disk of 100 GiB over a slow link
OPERATION_ATTEMPTS: Final = 5  # of one step that raised something that may pass
OPERATION_AGAIN_S: Final = 32  # between two tries of it, at most; 1, 2, 4, ...
OPERATIONS_PER_TICK: Final = 64  # claimed at once; one transaction
RECONCILE_PERIOD_S: Final = 5  # the pass that must be enough without any hint
TERMINAL_ROWS_KEPT_S: Final = 7 * 86_400  # finished operations and deleted instances stay readable

# agent link
NETWORK_GATHER_S: Final = 0.05  # after the network came whole: what changes in it meanwhile comes with the next poll
DESIRED_POLL_S: Final = 25  # long poll; below the idle limits of common balancers (30 s)
REPORT_PERIOD_S: Final = 10  # the heartbeat; what changed is reported at once
HEARTBEAT_WINDOW_S: Final = 0.1  # renewals and reports without news are written together
HOST_TOKEN_CACHE_S: Final = 60  # of a token that was right; a host that is forgotten is refused by its lease before
JOIN_TOKEN_S: Final = 3_600  # that a token lets machines join, if nobody says otherwise
JOIN_TOKEN_MAX_S: Final = 30 * 86_400  # that may be said
HOST_CERTIFICATE_S: Final = 90 * 86_400  # a host that is off for longer joins again, with its id and its disks
HOST_CERTIFICATE_LOOK_S: Final = 3_600  # between two looks of an agent whether half of its certificate's time is over
CONTROL_CERTIFICATE_S: Final = 30 * 86_400  # of the door; made anew when a control process starts, and each day
HOSTS_AUTHORITY_S: Final = 30 * 365 * 86_400  # of the certificate that all of these are signed with
CERTIFICATE_SKEW_S: Final = 86_400  # that a machine's clock may be behind when it first looks at a certificate
CERTIFICATE_REQUEST_CHARS: Final = 4_096  # one for an elliptic curve has 500
CONTROL_ANSWER_S: Final = 10  # one short question to the control plane, from connect to the answer
DOOR_HANDSHAKE_S: Final = 10  # of TLS, from connect; 10 ms are usual
FULL_REPORT_S: Final = 30  # everything again: what is not named is not there
AGENT_WORKERS: Final = 8  # machines that are made at once on one host
SWEEP_PERIOD_S: Final = 2  # how long a guest that ended by itself may go unnoticed
FAILED_AGAIN_S: Final = 10  # between two tries at a machine that failed for a reason that may pass
HOST_DOWN_S: Final = 30  # three missed heartbeats; no longer than a lease, which decides
HOST_LEASE_S: Final = 30  # how long a host may run its guests without renewing; longer than a database failover
LEASE_MARGIN_S: Final = 5  # after a lease's end until its guests count as ended: KEEPER_LOOK_S, a kill, clock drift
FENCE_LOOK_S: Final = 1  # between two looks for hosts whose lease lapsed
FENCE_WAIT_S: Final = 300  # that an evacuation waits for proof that its host is off
FENCE_AGAIN_S: Final = 30  # between two rounds of tries at a switch that did not see the power off
FENCE_AT_ONCE: Final = 16  # switches that one replica waits for: a rack that loses its power
CLOCK_STEP_S: Final = 1  # between two looks, by which the store's clock may run ahead; more is a step, and no silence
CLOCK_UNSEEN_S: Final = 10  # since the last look at the store's clock, after which nobody knows whether it was set
HOST_BUILDS_FAILED: Final = 3  # in a row, of servers that others then built, and a host is chosen last
HOST_SHUNNED_S: Final = 300  # until it gets one build to try: as long as an operator needs to look
HOSTS_LOST_MAX: Final = 0.55  # share of the hosts; when more vanish at once the fault is more likely ours

# volumes
VOLUME_SLOTS: Final = 16  # of one machine: each is a bridge that the guest finds at every start; 26 letters are the end
VOLUME_GIB: Final = 16_384  # of one volume; a raw file of ext4 ends at 16 TiB
VOLUME_MAKE_S: Final = 3_600  # a copy of 100 GiB, or an image fetched and written
VOLUME_DETACH_S: Final = 120  # until a guest let go of a disk; Nova gives up after as long
VOLUME_WORKERS: Final = 2  # files that are made at once on one host: a long copy holds up no more than one
VOLUME_COPY_S: Final = 3_600  # one copy on the host
UNPLUG_S: Final = 5  # that one visit waits for a guest to let go of a disk; 0.2 s is usual
UNPLUG_LOOK_S: Final = 0.1  # between two looks

# hypervisor
HYPERVISOR_START_S: Final = 20  # until the monitor answers; 0.1 s is usual
PROBE_S: Final = 3  # an accelerator that needs longer for a boot sector, or a bare kernel, does not work
STOP_GRACE_S: Final = 30  # between the power button and the power plug
REBOOT_GRACE_S: Final = 10  # a soft reboot that takes longer becomes a hard one
CONSOLE_BYTES: Final = 1 << 20  # a guest that floods its console keeps the last of it
MONITOR_S: Final = 5  # one monitor command; 1 ms is usual, a loaded host is slower
MONITOR_REPLY_BYTES: Final = 4 << 20  # one line from a monitor; a guest that took QEMU over cannot fill our memory
STATUS_S: Final = 1  # all monitors are asked at once; one that is silent longer counts as running, and is named
KILL_S: Final = 10  # from SIGKILL until the process is gone: disk writes in flight hold it up
QEMU_LOG_BYTES: Final = 64 << 10  # what QEMU itself prints; its last words matter
QEMU_TB_SIZE_MIB: Final = 32  # translation buffer; the default 512 MiB is taken from the host per guest

# live migration
MOVE_DOWNTIME_MS: Final = 300  # the guest is halted for the last of its memory when that fits; NFS and TCP wait longer
MOVE_BYTES_PER_S: Final = 1 << 30  # of memory, and of each disk; a 10 Gbit/s line is full at about this
MOVE_SWITCH_S: Final = 5  # a guest that is halted longer for the last of its disks runs on; 0.1 s is usual
MOVE_STEP_S: Final = 0.1  # between two looks at a move that goes on; part of how long the guest is halted
MOVE_LOOK_S: Final = 0.01  # between two looks while the guest is halted
MOVE_CANCEL_S: Final = 10  # until a cancelled passage is over; 0.1 s is usual
MOVE_TRIES: Final = 3  # of one move, each to another host where there is one
MOVE_STALLED_S: Final = 60  # without a byte or a word from either end; the next try may go elsewhere
MOVE_DEADLINE_S: Final = 7200  # of a whole move: 1 TiB of disk and memory takes half of it at 300 MB/s
DRAIN_MOVES: Final = 4  # at a time from one host: each takes its line, and the turn of the next
DRAIN_S: Final = 1800  # until each server of a host that is drained has a verdict, if nobody says otherwise
DRAIN_MAX_S: Final = 7 * 24 * 3600  # that may be said
MOVE_KEY_BYTES: Final = 32  # of a key for one move: as strong as the cipher

# keeper
KEEPER_LOOK_S: Final = 0.5  # between two looks at the lease; a suspended host wakes at most this late
KEEPER_RENEWALS: Final = 3  # tries to renew fit into one lease when each succeeds late
KEEPER_FIRST_TRY_S: Final = 1  # between tries while no lease was ever granted: nothing may start before
KEEPER_REQUEST_S: Final = 5  # one renewal, from connect to the last byte
KEEPER_ANSWER_BYTES: Final = 16 << 10  # a grant is 40 bytes
LEASE_MAX_S: Final = 3_600  # a longer grant is no grant: the host would run on for that long

# fencing
FENCE_ASK_S: Final = 20  # one call of a fence tool; a BMC answers within 5 s, a busy one later
FENCE_TRIES: Final = 3  # times that a machine is told to go off, in all
FENCE_SETTLE_S: Final = 30  # from an accepted "off" until the machine says that it is off; 10 s are usual
FENCE_PAUSE_S: Final = 1  # between two questions: a BMC is a small computer
FENCE_OUTPUT_BYTES: Final = 64 << 10  # kept of what a tool prints; an answer has one line
FENCE_ANSWER_CHARS: Final = 400  # of it shown and logged
FENCE_CONFIG_BYTES: Final = 16 << 10  # one host's configuration; it passes through a pipe whole
FENCE_ARGUMENTS: Final = 64  # of an operator's program
IPMI_PASSWORD_BYTES: Final = 20  # the protocol's own limit; the rest would be cut off silently

# network
ADDRESS_COOL_DOWN_S: Final = 120  # a released address is not handed out again before, unless nothing else is free
GUEST_MTU: Final = 1450  # 1500 less VXLAN's 50
FABRIC_BLOCKS_LOG2: Final = 6  # of the range between hosts of one machine: 63 hosts; a /16 gives 1,022 routers each
TUNNEL_PORT: Final = 4789  # of VXLAN, as IANA has it; UDP
NETWORK_COMMAND_S: Final = 10  # one ip, nft or conntrack run; 0.01 s is usual, a busy machine is slower
NETWORK_LOADS: Final = 4  # nft processes at once: each waits more than it computes
NETWORK_CHECK_S: Final = 60  # between two looks at everything, changed or not
DHCP_LEASE_S: Final = 86_400  # the address is planned, so a lease only bounds how long a change goes unseen
DHCP_LOG_BYTES: Final = 1 << 20  # a guest can make dnsmasq complain for ever; the file is cut at this size
ARRIVED_S: Final = 7_500  # how long connections that came with a guest are taken up: TCP's keepalive, 2 h, and a bit
FLOWS_BATCH: Final = 256  # deletions in one netlink message: their answers fit into a socket's buffer
PROBE_ANSWER_S: Final = 0.3  # ARP on the host's own bridge; 0.1 ms is usual
LOOP_TICK_S: Final = 1.0  # how late a time limit of a connection may be noticed
LOOP_CALL_S: Final = 10  # the network loop attends to a request of the agent; microseconds are usual
DNS_QUESTIONS: Final = 256  # on their way at once, all networks; one socket each
DNS_QUESTIONS_PER_NETWORK: Final = 32  # one tenant cannot take the relay from the others
DNS_ANSWER_S: Final = 5  # resolvers' own usual patience
DNS_DATAGRAM_BYTES: Final = 65_535  # the largest there is
METADATA_CONNECTIONS: Final = 512  # open at once, all networks; more are closed at once
METADATA_CONNECTIONS_PER_GUEST: Final = 16  # one guest cannot take the service from the others
METADATA_REQUEST_BYTES: Final = 8_192  # request line and headers
METADATA_REQUEST_S: Final = 10  # from connect to the last byte; a slow guest waits alone

# guest images built here
COMPRESS_S: Final = 120  # one zstd run over one file; a kernel takes 0.2 s
PROGRAM_S: Final = 30  # a small tool that needs milliseconds: mkfs, qemu-img on an empty disk, apt-cache
APT_S: Final = 300  # 30 MB of packages; 1 s on a good line
BUILD_LOCK_S: Final = 120  # another build of the same image; 15 s on a slow machine
TINY_DISK_MIB: Final = 64  # sparse; the disk of the tiny guest, smallest flavor included
SUBNET_NAMESERVERS: Final = 5  # Neutron's own limits on what DHCP carries
SUBNET_ROUTES: Final = 20  # Neutron's own
POOL_PREFIXES: Final = 64  # of a subnet pool; each is looked through for every subnet that is cut
ROUTER_ROUTES: Final = 30  # Neutron's own
ADDRESS_PAIRS: Final = 10  # per port, Neutron's own; each is a rule on the host
TAGS: Final = 50  # per object, Nova's own limit; Neutron has none
TAG_CHARS: Final = 255  # Neutron's own
BULK_OBJECTS: Final = 200  # made by one request, in one transaction: it holds the only writer
MAC_ATTEMPTS: Final = 16  # of 2**24 each; a network that fails them all has no room
DEBIAN_DISK_MIB: Final = 2048  # sparse; holds 600 MB
DEBIAN_BASE_TRIES: Final = 3  # of debootstrap, which has no retries of its own
DEBIAN_BUILD_S: Final = 1200  # each of four steps; the slowest, installing, takes 60 s on two cores

# images
IMAGE_INSPECT_S: Final = 20  # header inspection of one file in its own process
IMAGE_CONVERT_S: Final = 900  # one qemu-img run
IMAGE_VIRTUAL_BYTES: Final = 8 << 40  # a header that claims more is refused
IMAGE_CHUNK_BYTES: Final = 4 << 20  # hashed, written and sent at once; two per transfer are in memory
IMAGE_BYTES: Final = 1 << 40  # one upload; Glance's own default
IMAGE_WORDS: Final = 128  # properties, tags or members of one image; Glance's own default
IMAGE_VALUE_CHARS: Final = 65_535  # one property's value; PostgreSQL and clients take more, nobody needs it
IMAGE_FETCH_S: Final = 3_600  # one fetch by a host, resumptions included; 1 B/s ends here
IMAGE_FETCH_TRIES: Final = 6  # connections of one fetch without a new byte in between
IMAGE_STALL_S: Final = 20  # a connection that says nothing for this long is given up and resumed
IMAGE_STALL_BYTES: Final = 1 << 20  # fewer than this in IMAGE_STALL_S counts as saying nothing
IMAGE_CACHE_TRIES: Final = 8  # times a base may be evicted between its fetch and its use before that is an error
IMAGE_QUARANTINE_KEPT: Final = 4  # bad bases kept for a look; older ones make room
QEMU_IMG_BYTES: Final = 2 << 30  # address space of one qemu-img run; 1 TiB of qcow2 converts in 0.3 GiB
QEMU_IMG_S: Final = 60  # create, info, compare of headers
IMAGE_PAGE_ROWS: Final = 25  # rows of a list without a limit; Glance's own default

# processes
RESTART_PAUSE_MAX_S: Final = 5  # between two starts of a process that keeps ending
RESTART_STEADY_S: Final = 10  # a process that ran this long is started again at once
STOP_PROCESS_S: Final = 12  # between SIGTERM and SIGKILL; longer than GRACEFUL_SHUTDOWN_S
UP_READY_S: Final = 60  # until the API answers after its process started; 1 s is usual
DISK_FREE_LEAST_GIB: Final = 2  # for the store, logs, the tiny image and a first guest
PROOF_S: Final = 60  # for the probe guest of `up`; 3 s is usual, an emulated one on a busy machine 20 s
NETWORK_LOOK_S: Final = 5  # how long a broken path of a floating address may go unnoticed
CONSOLE_PERIOD_S: Final = 0.5  # how late a guest's words may be
CONSOLE_PIECE_BYTES: Final = 256 << 10  # of one console in one call; what is older is skipped
DOWN_GRACE_S: Final = 15  # for each guest to obey its power button when the cloud stops
GUESTS_STOPPED_AT_ONCE: Final = 16  # each only waits for its guest
AUDIT_LASTS_S: Final = 6  # a finding counts that is still so after this long: agents look each NETWORK_LOOK_S
AUDIT_PAUSE_S: Final = 0.25  # between two looks; one takes 50 ms
AUDIT_GRACE_S: Final = 30  # how long a settled instance may differ from its report before it is a finding
