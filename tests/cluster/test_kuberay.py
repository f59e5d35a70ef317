"""KubeRay's manifests: its own fields, Kubernetes' fields, and what the two must agree on."""

from __future__ import annotations

import copy
import shlex
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import ray
import typer
import yaml

import revo_ray
from revo_ray.cli.main import app
from tests.cluster.kuberay_fields import RESOURCES

FOLDER = Path(__file__).parents[2] / "cluster" / "kuberay"

KUBERNETES = "1.33"

Manifest = dict[str, Any]


def read(name: str) -> list[Manifest]:
    return list(yaml.safe_load_all((FOLDER / name).read_text()))


def cluster_spec(manifest: Manifest) -> Manifest:
    spec = manifest["spec"]
    return spec["rayClusterSpec"] if manifest["kind"] == "RayJob" else spec


def templates(manifest: Manifest) -> dict[str, Manifest]:
    """Pod templates by what runs in them."""
    spec = cluster_spec(manifest)
    found = {"head": spec["headGroupSpec"]["template"]}
    found |= {group["groupName"]: group["template"] for group in spec["workerGroupSpecs"]}
    if "submitterPodTemplate" in manifest["spec"]:
        found["submitter"] = manifest["spec"]["submitterPodTemplate"]
    return found


def check(manifest: Manifest) -> None:
    """Raises where KubeRay or Kubernetes does not know a field, or takes it for another type."""
    if manifest["kind"] not in RESOURCES:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
        return
    jsonschema.validate(manifest, RESOURCES[manifest["kind"]])
    for name, template in templates(manifest).items():
        pod = {"apiVersion": "v1", "kind": "Pod", **copy.deepcopy(template)}
        pod.setdefault("metadata", {})["name"] = name
        kubernetes_validate.validate(pod, KUBERNETES, strict=True)


@pytest.fixture(params=["raycluster.yaml", "rayjob.yaml"])
def manifest(request: pytest.FixtureRequest) -> Manifest:
    (found,) = read(request.param)
    return found


@pytest.mark.parametrize("name", sorted(path.name for path in FOLDER.iterdir()))
def test_every_field_is_known(name: str) -> None:
    for each in read(name):
        check(each)


@pytest.mark.parametrize(
    ("path", "key"),
    [
        (("spec",), "backoffLimits"),
        (("spec", "rayClusterSpec"), "authOption"),
        (("spec", "rayClusterSpec", "headGroupSpec"), "serviceTypes"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0), "maxReplica"),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "template", "spec"), "toleration"),
        (("spec", "submitterPodTemplate", "spec", "containers", 0), "resource"),
    ],
)
def test_a_slip_of_the_pen_is_found(path: tuple[Any, ...], key: str) -> None:
    (job,) = read("rayjob.yaml")
    place = job
    for step in path:
        place = place[step]
    place[key] = 1
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(job)


@pytest.mark.parametrize(
    ("path", "key", "wrong"),
    [
        (("spec",), "backoffLimit", "5"),
        (("spec",), "shutdownAfterJobFinishes", "yes"),
        (("spec",), "entrypoint", ["python", "-m", "revo_ray"]),
        (("spec",), "submissionMode", "Kubernetes"),
        (("spec", "rayClusterSpec"), "authOptions", "token"),
        (("spec", "rayClusterSpec", "headGroupSpec", "rayStartParams"), "num-cpus", 0),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0), "maxReplicas", 1.5),
        (("spec", "rayClusterSpec", "workerGroupSpecs", 0, "template", "spec"), "tolerations", {}),
    ],
)
def test_a_value_of_the_wrong_type_is_found(path: tuple[Any, ...], key: str, wrong: Any) -> None:
    (job,) = read("rayjob.yaml")
    check(copy.deepcopy(job))
    place = job
    for step in path:
        place = place[step]
    assert key in place
    place[key] = wrong
    with pytest.raises((jsonschema.ValidationError, kubernetes_validate.ValidationError)):
        check(job)


def test_only_a_token_opens_the_cluster(manifest: Manifest) -> None:
    spec = cluster_spec(manifest)
    assert spec["authOptions"]["mode"] == "token"
    assert spec["headGroupSpec"]["serviceType"] == "ClusterIP"
    assert spec["headGroupSpec"]["enableIngress"] is False
    assert "dashboard-host" not in spec["headGroupSpec"]["rayStartParams"]


def test_versions_are_those_of_the_project(manifest: Manifest) -> None:
    assert cluster_spec(manifest)["rayVersion"] == ray.__version__
    for template in templates(manifest).values():
        for container in template["spec"]["containers"]:
            assert container["image"].endswith(f":{revo_ray.__version__}")


def test_pods_are_restricted(manifest: Manifest) -> None:
    """Kubernetes' Pod Security Standard `restricted`, which a namespace may enforce."""
    for template in templates(manifest).values():
        pod = template["spec"]
        assert pod["automountServiceAccountToken"] is False
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] > 0
        assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC"}
        assert all("hostPath" not in volume for volume in pod.get("volumes", []))
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"]},
            }
            assert "hostPort" not in str(container)


def test_names_fit_together(manifest: Manifest) -> None:
    claim, wall = read("storage.yaml")
    for template in templates(manifest).values():
        pod = template["spec"]
        volumes = {volume["name"]: volume for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= set(volumes)
        if "storage" in volumes:
            name = volumes["storage"]["persistentVolumeClaim"]["claimName"]
            assert name == claim["metadata"]["name"]
        assert wall["spec"]["podSelector"]["matchLabels"] == template["metadata"]["labels"]
    assert "ReadWriteMany" in claim["spec"]["accessModes"]


def test_the_operator_reaches_the_job_server() -> None:
    """Its pods carry this label, whether Helm or kustomize installed it; their names differ."""
    _, wall = read("storage.yaml")
    (source, port) = next(
        (each["from"], each["ports"]) for each in wall["spec"]["ingress"] if "ports" in each
    )
    assert source == [
        {
            "namespaceSelector": {},
            "podSelector": {"matchLabels": {"app.kubernetes.io/component": "kuberay-operator"}},
        }
    ]
    assert port == [{"protocol": "TCP", "port": 8265}]


def test_workers_hold_the_gpus(manifest: Manifest) -> None:
    (group,) = cluster_spec(manifest)["workerGroupSpecs"]
    (container,) = group["template"]["spec"]["containers"]
    assert int(container["resources"]["limits"]["nvidia.com/gpu"]) >= 1
    assert container["resources"]["limits"] == container["resources"]["requests"]
    assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    (head,) = templates(manifest)["head"]["spec"]["containers"]
    assert "nvidia.com/gpu" not in head["resources"]["limits"]


def test_the_job_resumes_on_the_shared_disk() -> None:
    (job,) = read("rayjob.yaml")
    python, flag, module, command, *arguments = shlex.split(job["spec"]["entrypoint"])
    assert (python, flag, module, command) == ("python", "-m", "revo_ray", "search")
    search = typer.main.get_command(app).commands[command]
    parsed = search.make_context(command, arguments).params
    assert parsed["resume"] is True
    (head,) = templates(job)["head"]["spec"]["containers"]
    mounts = {mount["name"]: mount["mountPath"] for mount in head["volumeMounts"]}
    assert parsed["config"].startswith(mounts["config"] + "/")
    assert parsed["overrides"] == [f"storage={mounts['storage']}"]
    assert job["spec"]["backoffLimit"] > 0
    assert job["spec"]["shutdownAfterJobFinishes"] is True
