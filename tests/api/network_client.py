"""A client of the network service for tests: says what it wants in one line and fails with the body."""

from __future__ import annotations

from typing import Any

from tests.client import Answer, Client
from tests.conftest import Cloud

BASE = "/network/v2.0"
PLURALS = {
    "network": "networks",
    "subnet": "subnets",
    "subnetpool": "subnetpools",
    "port": "ports",
    "router": "routers",
    "floatingip": "floatingips",
    "security_group": "security-groups",
    "security_group_rule": "security-group-rules",
}


class Project:
    """One project's view of the network."""

    def __init__(self, client: Client) -> None:
        self.client = client

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        named = {key.replace("_", "-"): value for key, value in headers.items()}
        return self.client.request(method, f"{BASE}/{path}", body, headers=named)

    def make(self, noun: str, **attributes: Any) -> dict[str, Any]:
        answer = self.call("POST", PLURALS[noun], {noun: attributes})
        assert answer.status == 201, answer.body
        found: dict[str, Any] = answer.json[noun]
        return found

    def refused(self, noun: str, **attributes: Any) -> tuple[int, str]:
        """Status and type of the error that a POST gets."""
        return error_of(self.call("POST", PLURALS[noun], {noun: attributes}))

    def change(self, noun: str, object_id: str, **attributes: Any) -> dict[str, Any]:
        answer = self.call("PUT", f"{PLURALS[noun]}/{object_id}", {noun: attributes})
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json[noun]
        return found

    def show(self, noun: str, object_id: str) -> dict[str, Any]:
        answer = self.call("GET", f"{PLURALS[noun]}/{object_id}")
        assert answer.status == 200, answer.body
        found: dict[str, Any] = answer.json[noun]
        return found

    def list(self, noun: str, query: str = "") -> list[dict[str, Any]]:
        answer = self.call("GET", f"{PLURALS[noun]}?{query}")
        assert answer.status == 200, answer.body
        found: list[dict[str, Any]] = answer.json[PLURALS[noun].replace("-", "_")]
        return found

    def delete(self, noun: str, object_id: str) -> None:
        answer = self.call("DELETE", f"{PLURALS[noun]}/{object_id}")
        assert answer.status == 204, answer.body

    def subnet(self, cidr: str = "10.0.0.0/24", **attributes: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """A network and its subnet."""
        network = self.make("network", name="net")
        return network, self.make("subnet", network_id=network["id"], ip_version=4, cidr=cidr, **attributes)


def error_of(answer: Answer) -> tuple[int, str]:
    """Status and type of a refusal."""
    assert answer.status >= 400, answer.body
    body = answer.json["NeutronError"]
    assert set(body) == {"type", "message", "detail"}
    assert body["message"]
    return answer.status, body["type"]


def project(cloud: Cloud, user: str = "demo", name: str = "demo") -> Project:
    return Project(cloud.as_user(user, name))


def admin(cloud: Cloud) -> Project:
    return project(cloud, "admin", "admin")


def outside(cloud: Cloud, cidr: str = "172.24.4.0/24") -> dict[str, Any]:
    """An external network with a pool."""
    operator = admin(cloud)
    network = operator.make("network", name="public", **{"router:external": True})
    operator.make("subnet", network_id=network["id"], ip_version=4, cidr=cidr, enable_dhcp=False)
    return network


def other_tenant(cloud: Cloud) -> Project:
    """A member of another project."""
    identity = cloud.as_user("admin", "admin")
    domain = {"domain_id": "default"}
    made = identity.post("/identity/v3/projects", {"project": {"name": "stranger", **domain}})
    user = identity.post("/identity/v3/users", {"user": {"name": "stranger", "password": "stranger-pw", **domain}})
    project_id, user_id = made.json["project"]["id"], user.json["user"]["id"]
    role = cloud.known.role_ids["member"]
    granted = identity.put(f"/identity/v3/projects/{project_id}/users/{user_id}/roles/{role}")
    assert granted.status == 204, granted.body
    methods = {"methods": ["password"], "password": {"user": {"id": user_id, "password": "stranger-pw"}}}
    token = cloud.client.post(
        "/identity/v3/auth/tokens", {"auth": {"identity": methods, "scope": {"project": {"id": project_id}}}}
    )
    assert token.status == 201, token.body
    return Project(cloud.client.as_token(token.headers["x-subject-token"]))
