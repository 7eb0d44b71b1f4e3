"""boto3 itself against the facade's front, in this process: botocore's requests reach the application unsent."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.auth
import pytest

from holdfast.api.ec2.facade import Action, Members, SignerOf, ec2_facades, signer_from_store
from holdfast.api.http.application import Application
from holdfast.api.http.call import Call
from holdfast.api.http.policy import MEMBER, READER, Policy
from holdfast.api.http.services import Services
from holdfast.api.versions import ROOT
from holdfast.base import errors
from holdfast.base.config import Settings
from holdfast.control.operations.identity.bootstrap import identity_bootstrap
from holdfast.control.store.identity.credentials import ec2_credential_delete, ec2_credential_insert
from holdfast.daemon.composition import make_services
from holdfast.domain.credentials import Credentials
from holdfast.domain.identity import Ec2Credential
from tests.api.ec2_client import SECRETS, ec2, refusal
from tests.client import Client
from tests.conftest import HeldClock, open_store, password_hashes


def signer_of(call: Call, access_key: str) -> tuple[str, Credentials] | None:
    role = access_key.removeprefix("AK").lower()
    if access_key not in SECRETS:
        return None
    roles = frozenset({"member": ("member", "reader"), "reader": ("reader",)}[role])
    return SECRETS[access_key], Credentials(
        user_id="u", user_name=role, user_domain_id="d", project_id="p", roles=roles
    )


def regions(call: Call, members: Members) -> Members:
    return {"Regions": [{"RegionName": f"{call.project_id} {members}", "Endpoint": call.request_id}]}


def repeated_as(call: Call, members: Members) -> Members:
    assert call.raw_path.startswith("/services/Cloud")
    return {"Instances": [{"Tags": [{"Key": f"{call.method} {call.path}", "Value": call.body.decode()}]}]}


def fails(error: Exception) -> Callable[[Call, Members], Members]:
    def handler(call: Call, members: Members) -> Members:
        raise error

    return handler


ACTIONS = {
    "DescribeRegions": Action("r:read", regions),
    "DescribeVpcs": Action("r:nobody", regions),
    "CreateTags": Action("r:write", lambda call, members: {}),
    "StartInstances": Action("r:write", fails(errors.Conflict("it is running"))),
    "StopInstances": Action("r:write", fails(errors.NotFound("no i-1", code="InvalidInstanceID.NotFound"))),
    "RunInstances": Action("r:write", repeated_as),
    "RebootInstances": Action("r:write", fails(errors.NoCapacity("the cloud is full"))),
    "DescribeTags": Action("r:read", fails(ZeroDivisionError("secret words"))),
    "DescribeSubnets": Action("r:read", lambda call, members: {"Nonsense": 1}),
}


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    """A control plane whose clock shows the moment that botocore signs at."""
    clock = HeldClock()
    clock.at_us = int(datetime.now(UTC).timestamp()) * 1_000_000
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}", clock)
    yield make_services(Settings(state=str(tmp_path)), store, clock)
    store.close()


@pytest.fixture
def client(services: Services) -> Client:
    return serve(services, signer_of)


def serve(services: Services, signers: SignerOf) -> Client:
    def refuse(_: Any) -> Any:
        raise errors.Unauthenticated("no tokens here")

    facades = ec2_facades(ACTIONS, signers, old_clients=False)
    policy = Policy({"r:read": READER, "r:write": MEMBER, "r:nobody": "!"})
    return Client(Application(services, facades, policy, refuse, refuse, ROOT))


@pytest.mark.parametrize("path", ["/services/Cloud", "/services/Cloud/", "/ec2", "/ec2/"])
def test_boto3_is_answered_at_every_endpoint(client: Client, path: str) -> None:
    answer = ec2(client, path=path).describe_regions(RegionNames=["a"])
    assert answer["Regions"][0]["RegionName"] == "p {'RegionNames': ['a']}"
    assert answer["Regions"][0]["Endpoint"] == answer["ResponseMetadata"]["RequestId"]


def test_a_signed_url_of_boto3_is_answered(client: Client) -> None:
    url = urlsplit(ec2(client).generate_presigned_url("describe_regions", HttpMethod="GET"))
    answer = client.get(f"{url.path}?{url.query}", headers={"host": url.netloc})
    assert (answer.status, answer.headers["content-type"]) == (200, "text/xml;charset=UTF-8")
    assert client.get(f"{url.path}?{url.query}&DryRun=true", headers={"host": url.netloc}).status == 401


@pytest.mark.parametrize("action", [*ACTIONS, "DescribeVolumes", "Nonsense"])
def test_no_action_is_reached_without_a_signature(client: Client, action: str) -> None:
    for answer in (
        client.get(f"/services/Cloud?Action={action}"),
        client.post("/ec2", f"Action={action}".encode()),
        client.with_headers(x_auth_token="t").post("/ec2", f"Action={action}".encode()),
    ):
        assert answer.status == 401
        assert b"<Code>MissingAuthenticationToken</Code>" in answer.body


def test_who_signs_wrongly_or_may_not_is_refused(client: Client) -> None:
    assert refusal(ec2(client, "AKOTHER").describe_regions)[::2] == ("AuthFailure", 401)
    assert refusal(ec2(client, "AKMEMBER", "guess").describe_regions)[::2] == ("SignatureDoesNotMatch", 401)
    tag = {"Resources": ["i-1"], "Tags": [{"Key": "k"}]}
    assert ec2(client).create_tags(**tag)["ResponseMetadata"]["HTTPStatusCode"] == 200
    assert refusal(lambda: ec2(client, "AKREADER").create_tags(**tag))[::2] == ("UnauthorizedOperation", 403)
    assert refusal(lambda: ec2(client, "AKREADER").create_tags(DryRun=True, **tag))[0] == "UnauthorizedOperation"
    assert refusal(ec2(client).describe_vpcs)[0] == "UnauthorizedOperation"


def test_a_repeat_is_known_by_its_action_and_members_however_it_was_signed(client: Client) -> None:
    asked = {"MinCount": 1, "MaxCount": 1, "ClientToken": "t", "KeyName": "k"}
    posted = ec2(client).run_instances(**asked)["Instances"][0]["Tags"][0]
    url = urlsplit(ec2(client).generate_presigned_url("run_instances", dict(reversed(asked.items())), HttpMethod="GET"))
    linked = client.get(f"{url.path}?{url.query}", headers={"host": url.netloc}).body.decode()
    assert posted["Key"] == "POST /RunInstances"
    assert posted["Value"] == '{"ClientToken":"t","KeyName":"k","MaxCount":1,"MinCount":1}'
    assert posted["Key"] in linked
    assert posted["Value"] in linked
    other = ec2(client).run_instances(**asked, SecurityGroups=["g"])["Instances"][0]["Tags"][0]
    assert other["Value"] != posted["Value"]


def test_a_key_of_the_store_speaks_for_its_user_in_its_project_until_it_is_deleted(services: Services) -> None:
    known = services.store.write(lambda tx: identity_bootstrap(tx, password_hashes()))
    sealed = services.authority.secrets.seal(b"words")
    key = Ec2Credential("c1", known.demo_user_id, known.demo_project_id, "AKDEMO", sealed, "", 1)
    services.store.write(lambda tx: ec2_credential_insert(tx, key))
    made = ec2(serve(services, signer_from_store), "AKDEMO", "words")
    assert made.describe_regions()["Regions"][0]["RegionName"] == f"{known.demo_project_id} {{}}"
    services.store.write(lambda tx: ec2_credential_delete(tx, "c1"))
    assert refusal(made.describe_regions)[0] == "AuthFailure"


def test_a_dry_run_says_that_it_would_have_worked(client: Client) -> None:
    assert refusal(lambda: ec2(client).describe_regions(DryRun=True))[0] == "DryRunOperation"
    assert ec2(client).describe_regions(DryRun=False)["Regions"][0]["RegionName"] == "p {}"


def test_errors_are_told_in_ec2s_words(client: Client) -> None:
    ids = {"InstanceIds": ["i-1"]}
    assert refusal(lambda: ec2(client).start_instances(**ids)) == ("IncorrectState", "it is running", 400)
    assert refusal(lambda: ec2(client).stop_instances(**ids)) == ("InvalidInstanceID.NotFound", "no i-1", 400)
    full = refusal(lambda: ec2(client).reboot_instances(**ids))
    assert full == ("InsufficientInstanceCapacity", "the cloud is full", 500)
    assert refusal(ec2(client).describe_volumes)[::2] == ("UnsupportedOperation", 400)
    assert refusal(ec2(client).describe_images)[0] == "UnsupportedOperation"
    assert refusal(ec2(client).describe_id_format)[0] == "InvalidAction"


@pytest.mark.parametrize("action", ["describe_tags", "describe_subnets"])
def test_our_own_mistake_shows_nothing_of_itself(client: Client, action: str) -> None:
    code, message, status = refusal(getattr(ec2(client), action))
    assert (code, status) == ("InternalError", 500)
    assert "secret" not in message
    assert "Nonsense" not in message


def test_a_request_signed_long_ago_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(botocore.auth, "get_current_datetime", lambda: datetime(2020, 1, 1))
    assert refusal(ec2(client).describe_regions)[::2] == ("RequestExpired", 401)
