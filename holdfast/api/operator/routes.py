"""The operator facade: our own shape of answers, under /operator. Every route is for administrators."""

from __future__ import annotations

from holdfast.api.http.faults import plain_fault
from holdfast.api.http.policy import ADMIN
from holdfast.api.http.routes import Facade, Route
from holdfast.api.operator import drains, evacuations, hosts, join_tokens, public_addresses

_LOOK, _ACT, _JOIN = "holdfast:hosts:look", "holdfast:hosts:act", "holdfast:hosts:join"
_NETWORK = "holdfast:network:look"
RULES = {_LOOK: ADMIN, _ACT: ADMIN, _JOIN: ADMIN, _NETWORK: ADMIN}
_ONE = "/v1/hosts/{host}"
ROUTES = (
    Route("GET", "/v1/hosts", hosts.hosts_index, _LOOK),
    Route("GET", _ONE, hosts.host_show, _LOOK),
    Route("POST", f"{_ONE}/enable", hosts.host_take, _ACT),
    Route("POST", f"{_ONE}/disable", hosts.host_close, _ACT),
    Route("POST", f"{_ONE}/fence", hosts.host_fence, _ACT),
    Route("POST", f"{_ONE}/evacuate", evacuations.host_leave, _ACT),
    Route("POST", f"{_ONE}/drain", drains.drain_begin, _ACT),
    Route("GET", f"{_ONE}/drain", drains.drain_show, _LOOK),
    Route("DELETE", f"{_ONE}/drain", drains.drain_cancel, _ACT),
    Route("GET", f"{_ONE}/fence-config", hosts.fence_config_get, _LOOK),
    Route("PUT", f"{_ONE}/fence-config", hosts.fence_config_put, _ACT),
    Route("DELETE", f"{_ONE}/fence-config", hosts.fence_config_remove, _ACT),
    Route("DELETE", _ONE, hosts.host_remove, _ACT),
    Route("POST", "/v1/join-tokens", join_tokens.join_token_create, _JOIN),
    Route("GET", "/v1/join-tokens", join_tokens.join_tokens_index, _LOOK),
    Route("DELETE", "/v1/join-tokens/{token_id}", join_tokens.join_token_remove, _JOIN),
    Route("GET", "/v1/evacuations", evacuations.evacuations_index, _LOOK),
    Route("GET", "/v1/public-addresses", public_addresses.public_addresses_index, _NETWORK),
)
FACADE = Facade(name="operator", mount="operator", routes=ROUTES, fault=plain_fault)
