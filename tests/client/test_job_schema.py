"""The schema of `hv submit`'s files says what the API accepts."""

import json

import pytest
import yaml
from jsonschema import Draft202012Validator

from tests.support import job_schema

VALID = """
name: nightly
image: ml/train:1
command: [python, train.py]
cpu: 500m
ram_mib: 16Gi
gpu: 1
env: {EPOCHS: "40", HUB_TOKEN: {secret: for the container}}
require: {gpu.model: [h100], spot: {not: ["true"]}}
depends_on: [{deployment: 7, condition: running}]
"""


def test_it_is_the_body_of_a_submission() -> None:
    assert json.loads(job_schema.FILE.read_text()) == json.loads(json.dumps(job_schema.expected()))


def test_it_accepts_a_job_and_refuses_a_wrong_field() -> None:
    schema = json.loads(job_schema.FILE.read_text())
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema)
    job = yaml.safe_load(VALID)

    assert list(validator.iter_errors(job)) == []
    for wrong in ({"gpus": 1}, {"priority": 101}, {"image": ""}, {"depends_on": "seven"}):
        assert list(validator.iter_errors(job | wrong)), wrong


@pytest.mark.parametrize("missing", ["name", "cpu", "ram_mib"])
def test_what_hv_fills_in_may_be_missing(missing: str) -> None:
    validator = Draft202012Validator(json.loads(job_schema.FILE.read_text()))
    job = yaml.safe_load(VALID)
    del job[missing]

    assert list(validator.iter_errors(job)) == []
