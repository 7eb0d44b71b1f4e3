"""Every action of the trimmed model, against botocore's own serializer and parser as the oracle."""

from __future__ import annotations

import gzip
import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import botocore
import pytest
from botocore.loaders import Loader
from botocore.model import ServiceModel, Shape
from botocore.parsers import create_parser
from botocore.serialize import create_serializer

from holdfast.api.ec2 import model
from holdfast.api.ec2.parse import parse
from holdfast.api.ec2.render import render, render_error
from holdfast.api.ec2.trim_model import ACTIONS, to_text, trim

ROUNDS = 40  # generated values per action and direction
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
TEXTS = ["", "a", "x y", "<&>\"'", "snø ☃ 𝄞", "a\nb\tc\r\nd\r", " ", "true", "0", "%20+%", "a=b&c=d;e", "]]>", "a.1.b"]


@pytest.fixture(scope="module")
def service() -> ServiceModel:
    return ServiceModel(Loader().load_service_model("ec2", "service-2"), "ec2")


def generate(shape: Shape, dice: random.Random, fewest: int) -> Any:
    """A value of this shape as botocore's users write it: members come and go, at least `fewest` are there."""
    match shape.type_name:
        case "structure":
            keep = dice.choice((0.1, 0.5, 1.0))
            names = [name for name in shape.members if name in shape.required_members or dice.random() < keep]
            names += list(shape.members)[:fewest] if not names else []
            return {name: generate(shape.members[name], dice, fewest) for name in names}
        case "list":
            return [generate(shape.member, dice, fewest) for _ in range(dice.randint(fewest, 3))]
        case "integer":
            return dice.choice((0, 1, -1, 2**31 - 1, -(2**31), dice.randint(0, 10_000)))
        case "long":
            return dice.choice((0, -1, 2**63 - 1, -(2**63)))
        case "double" | "float":
            return dice.choice((0.0, -1.5, 1e-9, 3.3, 1e22))
        case "boolean":
            return dice.random() < 0.5
        case "timestamp":
            return EPOCH + timedelta(milliseconds=dice.randrange(2_000_000_000_000))
        case "blob":
            return dice.randbytes(dice.randint(0, 40))
        case "string":
            return dice.choice(TEXTS)
    raise AssertionError(shape.type_name)


def ours(value: Any) -> Any:
    """The same value as our handlers hold it: instants in microseconds, what is absent absent."""
    if isinstance(value, dict):
        return {name: ours(item) for name, item in value.items()}
    if isinstance(value, list):
        return [ours(item) for item in value]
    if isinstance(value, datetime):
        return (value - EPOCH) // timedelta(microseconds=1)
    return value


@pytest.mark.parametrize("action", ACTIONS)
def test_what_botocore_sends_is_parsed_to_what_the_user_wrote(service: ServiceModel, action: str) -> None:
    operation = service.operation_model(action)
    serializer = create_serializer("ec2", include_validation=False)
    dice = random.Random(action)
    for _ in range(ROUNDS):
        wanted = generate(operation.input_shape, dice, 1)  # an empty one cannot be sent
        sent = serializer.serialize_to_request(wanted, operation)["body"]
        flat = {name: str(value) for name, value in sent.items()}
        assert parse(action, flat) == ours(wanted)


@pytest.mark.parametrize("action", ACTIONS)
def test_what_is_rendered_is_what_botocore_reads(service: ServiceModel, action: str) -> None:
    operation = service.operation_model(action)
    dice = random.Random(action)
    for _ in range(ROUNDS):
        told = generate(operation.output_shape, dice, 0) if operation.output_shape else {}
        body = render(action, ours(told), "req-1")
        reply = {"status_code": 200, "headers": {}, "body": body}
        read = create_parser("ec2").parse(reply, operation.output_shape)
        assert read.pop("ResponseMetadata")["RequestId"] == "req-1"
        assert read == told


def test_botocore_reads_an_error_with_any_text_in_it() -> None:
    for text in TEXTS:
        body = render_error("InvalidInstanceID.NotFound", f"no {text}", "req-2")
        read = create_parser("ec2").parse({"status_code": 400, "headers": {}, "body": body}, None)
        assert read["Error"] == {"Code": "InvalidInstanceID.NotFound", "Message": f"no {text}"}
        assert read["ResponseMetadata"]["RequestId"] == "req-2"


def test_the_committed_model_is_what_the_trimmer_makes_of_its_source() -> None:
    loaded = model.load()
    if loaded.source != f"botocore {botocore.__version__}":
        pytest.skip(f"the model was trimmed from {loaded.source}")
    packed = Path(botocore.__file__).parent / "data/ec2/2016-11-15/service-2.json.gz"
    text = to_text(trim(json.loads(gzip.decompress(packed.read_bytes())), loaded.source))
    assert Path(model.__file__).with_name("model.json").read_text() == text
