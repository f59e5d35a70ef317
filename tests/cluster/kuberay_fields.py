"""The fields of KubeRay's `ray.io/v1` that its custom resource definitions accept, as JSON schemas.

Names and types were read in `ray-operator/apis/ray/v1/{raycluster,rayjob}_types.go` of KubeRay 1.5
and newer, from which the published definitions are generated; fields that came after 1.5.1 (such as
`authOptions.secretName`) are left out, so that the manifests keep to what all of those know. Pod
templates are Kubernetes' own, and are checked against its schemas.
"""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

TEXT: Schema = {"type": "string"}
FLAG: Schema = {"type": "boolean"}
COUNT: Schema = {"type": "integer", "minimum": 0}
NUMBER: Schema = {"type": "number"}
TEXTS: Schema = {"type": "object", "additionalProperties": TEXT}
KUBERNETES: Schema = {"type": "object"}
"""A part of Kubernetes itself."""


def one_of(*names: str) -> Schema:
    return {"enum": list(names)}


def fields(required: tuple[str, ...] = (), /, **known: Schema) -> Schema:
    return {
        "type": "object",
        "properties": known,
        "required": list(required),
        "additionalProperties": False,
    }


GROUP = {
    "template": KUBERNETES,
    "rayStartParams": TEXTS,
    "resources": TEXTS,
    "labels": TEXTS,
}

CLUSTER_SPEC = fields(
    ("headGroupSpec",),
    upgradeStrategy=fields(type=one_of("Recreate", "None")),
    authOptions=fields(mode=one_of("disabled", "token")),
    suspend=FLAG,
    managedBy=one_of("ray.io/kuberay-operator", "kueue.x-k8s.io/multikueue"),
    autoscalerOptions=fields(
        resources=KUBERNETES,
        image=TEXT,
        imagePullPolicy=TEXT,
        securityContext=KUBERNETES,
        idleTimeoutSeconds=COUNT,
        upscalingMode=one_of("Default", "Aggressive", "Conservative"),
        version=one_of("v1", "v2"),
        env={"type": "array"},
        envFrom={"type": "array"},
        volumeMounts={"type": "array"},
    ),
    headServiceAnnotations=TEXTS,
    enableInTreeAutoscaling=FLAG,
    gcsFaultToleranceOptions=fields(
        ("redisAddress",),
        redisUsername=KUBERNETES,
        redisPassword=KUBERNETES,
        externalStorageNamespace=TEXT,
        redisAddress=TEXT,
    ),
    headGroupSpec=fields(
        ("template",), **GROUP, headService=KUBERNETES, enableIngress=FLAG, serviceType=TEXT
    ),
    rayVersion=TEXT,
    workerGroupSpecs={
        "type": "array",
        "items": fields(
            ("groupName", "minReplicas", "maxReplicas", "template"),
            **GROUP,
            suspend=FLAG,
            groupName=TEXT,
            replicas=COUNT,
            minReplicas=COUNT,
            maxReplicas=COUNT,
            idleTimeoutSeconds=COUNT,
            scaleStrategy=fields(workersToDelete={"type": "array", "items": TEXT}),
            numOfHosts=COUNT,
        ),
    },
)

JOB_SPEC = fields(
    activeDeadlineSeconds=COUNT,
    backoffLimit=COUNT,
    rayClusterSpec=CLUSTER_SPEC,
    submitterPodTemplate=KUBERNETES,
    metadata=TEXTS,
    clusterSelector=TEXTS,
    submitterConfig=fields(backoffLimit=COUNT),
    managedBy=TEXT,
    deletionStrategy=KUBERNETES,
    entrypoint=TEXT,
    runtimeEnvYAML=TEXT,
    jobId=TEXT,
    submissionMode=one_of("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode"),
    entrypointResources=TEXT,
    entrypointNumCpus=NUMBER,
    entrypointNumGpus=NUMBER,
    ttlSecondsAfterFinished=COUNT,
    shutdownAfterJobFinishes=FLAG,
    suspend=FLAG,
)


def resource(kind: str, spec: Schema) -> Schema:
    return fields(
        ("apiVersion", "kind", "metadata", "spec"),
        apiVersion=one_of("ray.io/v1"),
        kind=one_of(kind),
        metadata=KUBERNETES,
        spec=spec,
    )


RESOURCES = {
    "RayCluster": resource("RayCluster", CLUSTER_SPEC),
    "RayJob": resource("RayJob", JOB_SPEC),
}
