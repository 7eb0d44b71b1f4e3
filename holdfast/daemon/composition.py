"""One control replica, put together: services, facades, policy, application.

The only place that knows every facade. Tests build the same application from the same functions.
"""

from __future__ import annotations

from holdfast.api.compute import routes as compute
from holdfast.api.ec2 import routes as ec2
from holdfast.api.hosts import routes as hosts
from holdfast.api.hosts.admission import Admission
from holdfast.api.http.application import Application
from holdfast.api.http.batch import Batches
from holdfast.api.http.policy import Policy
from holdfast.api.http.routes import Facade
from holdfast.api.http.services import Services
from holdfast.api.identity import routes as identity
from holdfast.api.identity.tokens import credentials_of
from holdfast.api.image import routes as image
from holdfast.api.network import routes as network
from holdfast.api.operator import routes as operator
from holdfast.api.placement import routes as placement
from holdfast.api.versions import ROOT
from holdfast.api.volume import routes as volume
from holdfast.base.clock import Clock
from holdfast.base.config import Settings
from holdfast.control.operations.host.certificates import HostsAuthority
from holdfast.control.operations.identity.authority import Authority
from holdfast.control.operations.image_file import images_claim
from holdfast.control.reconcilers.clock import ClockSetBack
from holdfast.control.reconcilers.deletions import Deletions
from holdfast.control.reconcilers.evacuations import Evacuations
from holdfast.control.reconcilers.history import History
from holdfast.control.reconcilers.images import ImageSweep
from holdfast.control.reconcilers.loop import Reconciler
from holdfast.control.reconcilers.power_fencing import PowerFencing
from holdfast.control.store.database import Database, StoreClock
from holdfast.debug import routes as debug

FACADES: tuple[Facade, ...] = (
    identity.FACADE,
    image.FACADE,
    network.FACADE,
    compute.FACADE,
    volume.FACADE,
    placement.FACADE,
    hosts.FACADE,
    operator.FACADE,
    *ec2.FACADES,
    debug.FACADE,
)
RULES: dict[str, str] = {
    **identity.RULES,
    **image.RULES,
    **network.RULES,
    **compute.RULES,
    **volume.RULES,
    **placement.RULES,
    **ec2.RULES,
    **operator.RULES,
    **debug.RULES,
}


def make_services(settings: Settings, store: Database, clock: Clock | None = None) -> Services:
    """Return the services of a cloud whose store is open and migrated."""
    for directory in ("keys", "images"):
        (settings.state_path / directory).mkdir(mode=0o700, parents=True, exist_ok=True)
    keys, images = settings.state_path / "keys", settings.images_path
    clock = clock or StoreClock(store)
    authority = Authority(store, clock, keys)
    images_claim(store, images)
    mounts = frozenset(facade.mount for facade in FACADES)
    hosts_authority = HostsAuthority(store, authority.secrets)
    return Services(settings, clock, store, keys, images, authority, hosts_authority, Batches(store), mounts)


def make_application(services: Services) -> Application:
    """Return the ASGI application with every facade."""
    hosts = Admission(services.store, services.clock)
    return Application(services, FACADES, Policy(RULES), credentials_of(services), hosts, ROOT)


def make_reconcilers(services: Services) -> tuple[Reconciler, ...]:
    """Return everything that repairs drift."""
    store = services.store
    evacuations = Evacuations(store, services.settings, services.clock)
    power = PowerFencing(store, services.settings, services.authority.secrets)
    return (
        ClockSetBack(store),
        evacuations,
        power,
        Deletions(store),
        History(store),
        ImageSweep(store, services.images),
    )
