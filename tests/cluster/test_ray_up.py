"""The files of `ray up`, through Ray's own code; AWS is moto's, in this process."""

from __future__ import annotations

import json
import logging
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import jsonschema
import pytest
import yaml
from cfnlint.api import lint
from moto import mock_aws
from ray.autoscaler._private.commands import _bootstrap_config
from ray.autoscaler._private.providers import _get_node_provider
from ray.autoscaler._private.util import prepare_config, validate_config
from ray.autoscaler.tags import TAG_RAY_NODE_NAME

from tests.cluster.shell import complaints

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "cluster"
START = ("head_start_ray_commands", "worker_start_ray_commands")
SETUP = ("setup_commands", "head_setup_commands", "worker_setup_commands")

Config = dict[str, Any]


@pytest.fixture(params=["on-premise.yaml", "aws.yaml"])
def config(request: pytest.FixtureRequest) -> Config:
    return yaml.safe_load((CLUSTER / request.param).read_text())


def test_ray_knows_every_key(config: Config) -> None:
    validate_config(prepare_config(config))
    with pytest.raises(jsonschema.ValidationError, match="setup_command"):
        validate_config(prepare_config(config | {"setup_command": []}))


def test_only_a_token_opens_the_cluster(config: Config) -> None:
    whole = prepare_config(config)  # with Ray's defaults, whose dashboard on AWS is open
    assert "0.0.0.0" not in json.dumps(whole)
    assert whole["file_mounts"]["~/.ray/auth_token"] == "~/.ray/auth_token"
    for key in START:
        (start,) = (command for command in whole[key] if "ray start" in command)
        assert "RAY_AUTH_MODE=token ray start" in start
        assert ("--dashboard-host=127.0.0.1" in start) == ("--head" in start)


def test_the_wheel_is_that_of_the_project(config: Config) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    commands = " ".join(prepare_config(config)["setup_commands"])
    wheels = re.findall(r"dist/(revo_ray-[^\s\"\[]+)", commands)
    assert set(wheels) == {f"revo_ray-{project['version']}-py3-none-any.whl"}
    (locked,) = re.findall(r"-r ~/revo-ray/(\S+)", commands)
    assert (ROOT / locked).is_file()
    assert config["file_mounts"]["~/revo-ray/locks"] == str(Path(locked).parent)


def test_the_shell_takes_every_command(config: Config) -> None:
    for key in (*SETUP, *START):
        for command in config.get(key, []):
            assert not complaints(command, "warning")  # ~ and $ are for the machine


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """An account with the stack of the README; keys that Ray makes go to a home of their own."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-west-2")
    monkeypatch.setenv("HOME", str(tmp_path))
    logging.getLogger("ray.autoscaler").setLevel(logging.ERROR)
    with mock_aws():
        boto3.client("cloudformation").create_stack(
            StackName="revo-ray",
            TemplateBody=(CLUSTER / "aws-roles.yaml").read_text(),
            Parameters=[{"ParameterKey": "Bucket", "ParameterValue": "bucket"}],
            Capabilities=["CAPABILITY_NAMED_IAM"],
        )
        yield


def test_the_roles_are_a_sound_template() -> None:
    assert not lint((CLUSTER / "aws-roles.yaml").read_text())


@pytest.mark.nightly
def test_aws_starts_a_head_that_stays_and_spot_workers_with_gpus(cloud: None) -> None:
    config = yaml.safe_load((CLUSTER / "aws.yaml").read_text())
    ready = _bootstrap_config(config, no_config_cache=True)
    types = ready["available_node_types"]
    assert types["gpu"]["resources"]["GPU"] >= 1
    assert types["gpu"]["min_workers"] == types["gpu"]["max_workers"] == ready["max_workers"]
    assert types["head"]["resources"] == {"CPU": 0}

    provider = _get_node_provider(ready["provider"], ready["cluster_name"])
    started = {}
    for name in ("head", "gpu"):
        nodes = provider.create_node(types[name]["node_config"], {TAG_RAY_NODE_NAME: name}, 1)
        (identity,) = nodes
        (found,) = boto3.client("ec2").describe_instances(InstanceIds=[identity])["Reservations"]
        (started[name],) = found["Instances"]
    assert started["gpu"]["InstanceLifecycle"] == "spot"
    assert "InstanceLifecycle" not in started["head"]

    roles = boto3.resource("iam")
    for name, role in (("head", "revo-ray-head"), ("gpu", "revo-ray-worker")):
        profile = started[name]["IamInstanceProfile"]["Arn"].rpartition("/")[2]
        assert [each.name for each in roles.InstanceProfile(profile).roles] == [role]
        assert started[name]["MetadataOptions"]["HttpTokens"] == "required"
    assert boto3.resource("s3").Bucket("bucket").creation_date

    groups = [group["GroupId"] for group in started["head"]["SecurityGroups"]]
    for group in boto3.client("ec2").describe_security_groups(GroupIds=groups)["SecurityGroups"]:
        for rule in group["IpPermissions"]:
            if rule.get("IpRanges"):
                assert (rule["FromPort"], rule["ToPort"]) == (22, 22)
