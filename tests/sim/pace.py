"""How long after its host was fenced each of its servers runs elsewhere, and how long after they registered hosts are
known to be up, by the clock of the simulation.

FEATURES D10. A start takes no time here, and a message 10 ms at most: what is left is what the product waits for by
itself, in its own loops. `python -m tests.sim.pace` prints the seconds of the last server, and of the slowest host.
"""

from __future__ import annotations

import msgspec

from tests.sim.clockwork import Loop
from tests.sim.cluster import Cluster
from tests.sim.hosts import SimHost
from tests.sim.standins import stood_in
from tests.sim.stores import forget_ground, ground
from tests.world import IMAGE

SEED = 19  # one replica, four hosts that share their disks
SERVERS = 20
LONG_S = 120.0


def pace() -> tuple[float, float]:
    """Kill a host with SERVERS of them, and return the seconds between its fencing and the last one's start; before
    that, of all hosts, the most between the registration of one and its first report."""
    loop = Loop(SEED)
    ground()
    with stood_in(loop, None):
        cluster = Cluster(loop, operators=False)
        assert len(cluster.replicas) == 1 and all(host.shared for host in cluster.hosts)
        try:
            return _pace(cluster)
        finally:
            cluster.end()


def _pace(cluster: Cluster) -> tuple[float, float]:
    loop, rows = cluster.loop, cluster.world.rows
    for host in cluster.hosts:
        host.capabilities = msgspec.structs.replace(host.capabilities, vcpus=64, memory_mib=64 * 1024)
        host.start_s = lambda: 0.0
    for replica in cluster.replicas:
        replica.start()
    first_s = max(_boot(cluster, host) for host in cluster.hosts)
    loop.run(30)  # longer than any lease lasts
    source = cluster.hosts[0]
    cluster.users.process.spawn(lambda: _launch(cluster, source.name), "launches")
    assert loop.run(LONG_S, until=lambda: _running(cluster) == SERVERS)
    loop.run(5)  # and all of that is said and heard
    source.power_off("its plug is pulled")
    assert loop.run(LONG_S, until=lambda: bool(rows("SELECT 1 FROM host_lease WHERE phase = 'fenced'")))
    fenced_s = loop.seconds
    assert loop.run(LONG_S, until=lambda: _running(cluster) == SERVERS)
    return loop.seconds - fenced_s, first_s


def _boot(cluster: Cluster, host: SimHost) -> float:
    """How long it takes to say what it is, once it registered."""
    loop, rows = cluster.loop, cluster.world.rows
    registered = "SELECT 1 FROM host_lease WHERE incarnation > 0 AND host_id = ?"
    reported = "SELECT 1 FROM host WHERE reported_us > 0 AND id = ?"
    host.boot()
    assert loop.run(LONG_S, until=lambda: bool(rows(registered, host.host_id)))
    since_s = loop.seconds
    assert loop.run(LONG_S, until=lambda: bool(rows(reported, host.host_id)))
    return loop.seconds - since_s


def _launch(cluster: Cluster, host: str) -> None:
    users, admin = cluster.users, {"x-auth-token": cluster.ground.admin_token}
    project = cluster.ground.known.admin_project_id
    quota = {"quota_set": {"instances": -1, "cores": -1, "ram": -1}}
    users.call("PUT", f"/compute/v2.1/os-quota-sets/{project}", quota, **admin)
    for number in range(SERVERS):
        server = {"name": f"s{number}", "imageRef": IMAGE, "flavorRef": "42", "networks": "none"}
        server["availability_zone"] = f"nova:{host}"
        users.call("POST", "/compute/v2.1/servers", {"server": server}, **admin)


def _running(cluster: Cluster) -> int:
    return sum(len(hosts) == 1 for hosts in cluster.world.running.values())


if __name__ == "__main__":
    try:
        print(*pace())
    finally:
        forget_ground()
