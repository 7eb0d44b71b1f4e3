"""boto3 in this process: botocore's requests reach the application without a socket."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.exceptions import ClientError

from tests.client import Client

SECRETS = {"AKMEMBER": "secret of a member", "AKREADER": "secret of a reader"}


def ec2(client: Client, key: str = "AKMEMBER", secret: str = "", path: str = "/services/Cloud") -> Any:
    """A boto3 client whose requests go to the application."""

    def deliver(request: Any, **_: Any) -> AWSResponse:
        url = urlsplit(request.url)
        headers = {k.lower(): v.decode() if isinstance(v, bytes) else v for k, v in request.headers.items()}
        body = request.body.encode() if isinstance(request.body, str) else request.body or b""
        target = f"{url.path}?{url.query}" if url.query else url.path
        answer = client.request(request.method, target, body, {**headers, "host": url.netloc})
        raw = BytesIO(answer.body)
        raw.stream = lambda **_: iter([raw.read()])  # type: ignore[attr-defined]
        return AWSResponse(request.url, answer.status, answer.headers, raw)

    made = boto3.client(
        "ec2",
        region_name="anywhere",
        endpoint_url=f"http://cloud.example:5000{path}",
        aws_access_key_id=key,
        aws_secret_access_key=secret or SECRETS.get(key, "x"),
        config=Config(retries={"max_attempts": 0}),
    )
    made.meta.events.register("before-send.ec2", deliver)
    return made


def refusal(call: Callable[[], object]) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call()
    said = caught.value.response
    assert said["ResponseMetadata"]["RequestId"].startswith("req-")
    return said["Error"]["Code"], said["Error"]["Message"], said["ResponseMetadata"]["HTTPStatusCode"]
