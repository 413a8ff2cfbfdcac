"""Checks a Kubernetes Job against the public API: ``batch/v1`` as of Kubernetes 1.31, the fields that ours may use.

The JSON Schema has the types, names and choices of the API reference; ``broken_rules`` has those rules of the reference
that join several fields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import jsonschema

LABEL = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
QUANTITY = "^[0-9]+([.][0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$"


def fields(required: str = "", **properties: Any) -> dict[str, Any]:
    """Return the schema of an object that has no other fields than these."""
    return {
        "type": "object",
        "properties": properties,
        "required": required.split(),
        "additionalProperties": False,
    }


def array(items: Mapping[str, Any], *, least: int = 1) -> dict[str, Any]:
    """Return the schema of an array."""
    return {"type": "array", "items": items, "minItems": least}


TEXT: Mapping[str, Any] = {"type": "string"}
NAME: Mapping[str, Any] = {"type": "string", "pattern": LABEL}
COUNT: Mapping[str, Any] = {"type": "integer", "minimum": 0}
QUANTITIES: Mapping[str, Any] = {
    "type": "object",
    "additionalProperties": {"type": "string", "pattern": QUANTITY},
}
RULE = fields(
    "action",
    action={"enum": ["FailIndex", "FailJob", "Ignore", "Count"]},
    onExitCodes=fields(
        "operator values",
        containerName=NAME,
        operator={"enum": ["In", "NotIn"]},
        values={
            **array({"type": "integer", "minimum": 0, "maximum": 255}),
            "uniqueItems": True,
            "maxItems": 255,
        },
    ),
    onPodConditions=array(fields("type", type=TEXT, status={"enum": ["True", "False", "Unknown"]})),
)
CONTAINER = fields(
    "name image",
    name=NAME,
    image=TEXT,
    command=array(TEXT),
    args=array(TEXT),
    workingDir=TEXT,
    env=array(fields("name", name=TEXT, value=TEXT)),
    resources=fields(requests=QUANTITIES, limits=QUANTITIES),
    volumeMounts=array(fields("name mountPath", name=NAME, mountPath=TEXT, readOnly={"type": "boolean"})),
)
POD = fields(
    "containers",
    restartPolicy={"enum": ["Never", "OnFailure"]},
    containers=array(CONTAINER),
    volumes=array(
        fields(
            "name", name=NAME, persistentVolumeClaim=fields("claimName", claimName=NAME), emptyDir=fields()
        )
    ),
)
METADATA = fields(
    name=NAME, namespace=NAME, labels={"type": "object", "additionalProperties": {"type": "string"}}
)
JOB = fields(
    "apiVersion kind metadata spec",
    apiVersion={"const": "batch/v1"},
    kind={"const": "Job"},
    metadata=METADATA | {"required": ["name"]},
    spec=fields(
        "template",
        completionMode={"enum": ["Indexed", "NonIndexed"]},
        completions=COUNT,
        parallelism=COUNT,
        backoffLimit=COUNT,
        backoffLimitPerIndex=COUNT,
        maxFailedIndexes=COUNT,
        activeDeadlineSeconds=COUNT,
        ttlSecondsAfterFinished=COUNT,
        podReplacementPolicy={"enum": ["Failed", "TerminatingOrFailed"]},
        podFailurePolicy=fields("rules", rules=array(RULE) | {"maxItems": 20}),
        template=fields("spec", metadata=METADATA, spec=POD),
    ),
)


def faults(manifest: Any) -> list[str]:
    """Return everything that the API server would refuse in a Job."""
    found = [
        f"{error.json_path}: {error.message}"
        for error in jsonschema.Draft202012Validator(JOB).iter_errors(manifest)
    ]
    return found or list(broken_rules(manifest["spec"]))


def broken_rules(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield the rules between fields that a Job breaks."""
    indexed = spec.get("completionMode") == "Indexed"
    pod = spec["template"]["spec"]
    if indexed and "completions" not in spec:
        yield "an Indexed Job needs completions"
    for name in ("backoffLimitPerIndex", "maxFailedIndexes"):
        if name in spec and not indexed:
            yield f"{name} needs completionMode: Indexed"
    if "maxFailedIndexes" in spec and "backoffLimitPerIndex" not in spec:
        yield "maxFailedIndexes needs backoffLimitPerIndex"
    if spec.get("maxFailedIndexes", 0) > spec.get("completions", 0):
        yield "maxFailedIndexes is larger than completions"
    if "backoffLimitPerIndex" in spec and pod.get("restartPolicy") != "Never":
        yield "backoffLimitPerIndex needs restartPolicy: Never"
    yield from _broken_policy(spec, pod)
    volumes = {volume["name"] for volume in pod.get("volumes", ())}
    for container in pod["containers"]:
        for mount in container.get("volumeMounts", ()):
            if mount["name"] not in volumes:
                yield f"no volume is named {mount['name']}"


def _broken_policy(spec: Mapping[str, Any], pod: Mapping[str, Any]) -> Iterator[str]:
    if "podFailurePolicy" not in spec:
        return
    if pod.get("restartPolicy") != "Never":
        yield "podFailurePolicy needs restartPolicy: Never"
    if spec.get("podReplacementPolicy", "Failed") != "Failed":
        yield "podFailurePolicy needs podReplacementPolicy: Failed"
    names = {container["name"] for container in pod["containers"]}
    for rule in spec["podFailurePolicy"]["rules"]:
        if ("onExitCodes" in rule) == ("onPodConditions" in rule):
            yield "a rule has either onExitCodes or onPodConditions"
        if rule["action"] == "FailIndex" and "backoffLimitPerIndex" not in spec:
            yield "FailIndex needs backoffLimitPerIndex"
        codes = rule.get("onExitCodes", {})
        if codes.get("containerName", next(iter(names))) not in names:
            yield f"no container is named {codes['containerName']}"
        if codes.get("operator") == "In" and 0 in codes["values"]:
            yield "0 is no exit code of a failure"
        if codes.get("values", []) != sorted(codes.get("values", [])):
            yield "exit codes must be in ascending order"
