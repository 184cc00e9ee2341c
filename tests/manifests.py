"""Kubernetes manifests judged as an API server would: against schemas that know every field."""

from __future__ import annotations

import functools
import json
import subprocess
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import kubernetes_validate
import yaml
from jsonschema import Draft202012Validator

from tests import needs

DEPLOY = Path(__file__).resolve().parents[1] / "deploy"
OVERLAYS = sorted(
    path.parent.name for path in DEPLOY.glob("kubernetes/overlays/*/kustomization.yaml")
)
KUBERNETES = "1.32"
Manifest = dict[str, Any]
_CRDS = "operator/deployment/helm/dask-kubernetes-operator/crds"
_LABELS = {"type": "object", "additionalProperties": {"type": "string"}}
_METADATA = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"},
        "namespace": {"type": "string"},
        "labels": _LABELS,
        "annotations": _LABELS,
    },
    "required": ["name"],
    "additionalProperties": False,
}
_TEXT = {"type": "string"}
_TEXTS = {"type": "array", "items": _TEXT}


def _table(required: str = "", **properties: Any) -> dict[str, Any]:
    return {
        "type": "object", "properties": properties, "required": required.split(),
        "additionalProperties": False,
    }  # fmt: skip


# No package holds the schemas of these two operators. These are the fields that we use, after their
# documentation: they find a misspelt field, not one that a release of theirs dropped.
_OF_OTHERS = {
    "PodMonitor": _table(
        "selector podMetricsEndpoints",
        selector=_table("matchLabels", matchLabels=_LABELS),
        podTargetLabels=_TEXTS,
        podMetricsEndpoints={
            "type": "array", "items": _table("port", port=_TEXT, path=_TEXT, interval=_TEXT)
        },
    ),
    "Issuer": {
        "oneOf": [
            _table("selfSigned", selfSigned=_table()),
            _table("ca", ca=_table("secretName", secretName=_TEXT)),
        ]
    },
    "Certificate": _table(
        "secretName issuerRef",
        isCA={"type": "boolean"},
        commonName=_TEXT,
        dnsNames=_TEXTS,
        secretName=_TEXT,
        duration=_TEXT,
        usages=_TEXTS,
        privateKey=_table("algorithm size", algorithm=_TEXT, size={"type": "integer"}),
        issuerRef=_table("name", name=_TEXT, kind=_TEXT),
    ),
}  # fmt: skip


@functools.cache
def read_crds() -> dict[str, dict[str, Any]]:
    """Return kind -> strict JSON Schema of the Dask operator's own resources."""
    schemas = {}
    folder = resources.files("dask_kubernetes").joinpath(_CRDS)
    for file in folder.iterdir():
        crd = yaml.load(file.read_text(), yaml.CSafeLoader)
        [version] = crd["spec"]["versions"]
        schema = _make_strict(version["schema"]["openAPIV3Schema"])
        schema["properties"] |= {"apiVersion": _TEXT, "kind": _TEXT, "metadata": _METADATA}
        schemas[crd["spec"]["names"]["kind"]] = {**schema, "additionalProperties": False}
    return schemas


def _make_strict(schema: dict[str, Any]) -> dict[str, Any]:
    """Return an OpenAPI schema of a CRD as JSON Schema that refuses what it does not name."""
    strict = {key: value for key, value in schema.items() if not key.startswith("x-")}
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if "properties" in schema:
        strict["properties"] = {k: _make_strict(v) for k, v in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields"):
            strict["additionalProperties"] = False
    elif isinstance(schema.get("additionalProperties"), dict):
        strict["additionalProperties"] = _make_strict(schema["additionalProperties"])
    if "items" in schema:
        strict["items"] = _make_strict(schema["items"])
    return strict


def find_fault(manifest: dict[str, Any]) -> str:
    """Return why an API server would refuse an object; empty where it would not."""
    kind = manifest["kind"]
    if kind in read_crds():
        fault = _first_error(read_crds()[kind], manifest)
        return fault or next(filter(None, map(_find_pod_fault, pod_specs(manifest))), "")
    if kind in _OF_OTHERS:
        schema = _table(
            "apiVersion kind metadata spec",
            apiVersion=_TEXT, kind=_TEXT, metadata=_METADATA, spec=_OF_OTHERS[kind],
        )  # fmt: skip
        return _first_error(schema, manifest)
    try:
        kubernetes_validate.validate(manifest, KUBERNETES, strict=True)
    except kubernetes_validate.ValidationError as error:
        return f"{'/'.join(map(str, error.path))}: {error.message}"
    return ""


def _first_error(schema: dict[str, Any], value: Any) -> str:
    for error in Draft202012Validator(schema).iter_errors(value):
        return f"{error.json_path}: {error.message[:300]}"
    return ""


def _find_pod_fault(spec: dict[str, Any]) -> str:
    """Judge a pod by a newer Kubernetes than the one that the operator's schemas came from."""
    return find_fault(
        {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": spec}
    )


def pod_specs(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the pod of everything in an object that makes pods."""
    if manifest["kind"] == "DaskCluster":
        yield manifest["spec"]["scheduler"]["spec"]
    if manifest["kind"] in ("DaskCluster", "DaskWorkerGroup"):
        yield manifest["spec"]["worker"]["spec"]
    if manifest["kind"] == "Job":
        yield manifest["spec"]["template"]["spec"]


def containers(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield every container of an object."""
    for pod in pod_specs(manifest):
        yield from (*pod.get("initContainers", []), *pod["containers"])


def every(built: dict[str, list[Manifest]]) -> Iterator[tuple[str, Manifest]]:
    """Yield every object of built overlays, and its place in words."""
    for overlay, objects in built.items():
        for thing in objects:
            yield f"{overlay}: {thing['kind']} {thing['metadata']['name']}", thing


def to_bytes(quantity: str) -> int:
    """Return a quantity of memory such as 8Gi in bytes."""
    units = {"Ki": 2**10, "Mi": 2**20, "Gi": 2**30}
    return int(quantity[:-2]) * units[quantity[-2:]]


def build_overlay(name: str) -> list[dict[str, Any]]:
    """Return an overlay's objects as kubectl builds them; skips where no recent one is."""
    made = subprocess.run(
        [needs.kubectl(), "kustomize", str(DEPLOY / "kubernetes" / "overlays" / name)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert made.returncode == 0, made.stderr
    assert "deprecated" not in made.stderr
    return list(yaml.safe_load_all(made.stdout))


def as_text(value: Any) -> str:
    """Return a value as one line that two equal values share."""
    return json.dumps(value, sort_keys=True)
