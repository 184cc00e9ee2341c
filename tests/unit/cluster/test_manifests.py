"""What deploy/kubernetes ships: objects that Kubernetes takes, and that --kubernetes creates."""

from __future__ import annotations

import copy
import itertools
import re
import tomllib
from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from cloudfree.cluster.kubernetes import describe_cluster
from cloudfree.core.config import KubernetesSettings
from tests.manifests import (
    DEPLOY,
    OVERLAYS,
    Manifest,
    as_text,
    containers,
    every,
    find_fault,
    pod_specs,
)

KUSTOMIZE = DEPLOY / "kubernetes"


def of_kind(objects: list[Manifest], kind: str) -> list[Manifest]:
    return [thing for thing in objects if thing["kind"] == kind]


def test_all_overlays_are_there() -> None:
    assert OVERLAYS == ["cpu", "gpu", "local-kind", "production"]


def test_every_file_is_taken_by_the_schemas_before_it_is_patched() -> None:
    """Also where kubectl is not: the files that --kubernetes reads, and those beside them."""
    tried = 0
    for file in sorted(KUSTOMIZE.rglob("*.yaml")):
        for thing in yaml.safe_load_all(file.read_text()):
            if isinstance(thing, dict) and "kustomize" not in thing["apiVersion"]:
                assert find_fault(thing) == "", file
                tried += 1
    assert tried == 17


def test_every_object_is_taken_by_the_schemas(built: dict[str, list[Manifest]]) -> None:
    assert {where: find_fault(thing) for where, thing in every(built)} == {
        where: "" for where, _ in every(built)
    }


def _places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every mapping whose keys are fields, not names."""
    free = (
        "labels",
        "annotations",
        "matchLabels",
        "selector",
        "limits",
        "requests",
        "data",
        "emptyDir",
    )
    if isinstance(value, dict):
        if not path or path[-1] not in free:
            yield path
        for key, item in value.items():
            yield from _places(item, (*path, key))
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _places(item, (*path, number))


def test_an_unknown_field_anywhere_is_refused(built: dict[str, list[Manifest]]) -> None:
    """The schemas can say no: a field that nobody knows, put into each place of each object."""
    tried = 0
    for where, thing in every({"production": built["production"]}):
        for path in _places(thing):
            if path == ("metadata",) and "dask.org" not in thing["apiVersion"]:
                continue  # the core schemas stop at metadata's own fields
            broken = copy.deepcopy(thing)
            spot = broken
            for step in path:
                spot = spot[step]
            spot["frobnicate"] = "yes"
            assert find_fault(broken), f"{where}: {path}"
            tried += 1
    assert tried > 150


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("spec", "worker", "replicas"), "two"),
        (("spec", "idleTimeout"), "1h"),
        (("spec", "worker", "spec", "containers", 0, "args"), "dask worker"),
        (("spec", "worker", "spec", "containers", 0, "ports", 0, "containerPort"), None),
        (("spec", "scheduler", "service"), None),
    ],
)
def test_a_value_of_another_type_is_refused(
    built: dict[str, list[Manifest]], path: tuple[Any, ...], value: Any
) -> None:
    [cluster] = of_kind(built["cpu"], "DaskCluster")
    broken = copy.deepcopy(cluster)
    spot: Any = broken
    for step in path[:-1]:
        spot = spot[step]
    if value is None:
        del spot[path[-1]]
    else:
        spot[path[-1]] = value
    assert find_fault(broken)


def test_pods_are_restricted(built: dict[str, list[Manifest]]) -> None:
    seen = 0
    for where, thing in every(built):
        for pod in pod_specs(thing):
            security = pod["securityContext"]
            assert security["runAsNonRoot"] is True, where
            assert security["runAsUser"] > 0 and security["runAsGroup"] > 0, where
            assert security["seccompProfile"] == {"type": "RuntimeDefault"}, where
            assert pod["automountServiceAccountToken"] is False, where
            assert 30 <= pod["terminationGracePeriodSeconds"] <= 120, where
            assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod), where
            assert all(not {"hostPath"} & set(volume) for volume in pod["volumes"]), where
        for container in containers(thing):
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }, where
            limits, requests = (container["resources"][key] for key in ("limits", "requests"))
            assert "memory" in limits and {"cpu", "memory"} <= set(requests), where
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert {"/work", "/tmp"} <= mounts, where
            seen += 1
    assert seen >= 4 * len(OVERLAYS)


def test_gpus_are_asked_for_by_restorers_alone(built: dict[str, list[Manifest]]) -> None:
    groups = 0
    for where, thing in every(built):
        for container in containers(thing):
            asked = container["resources"]["limits"].get("nvidia.com/gpu", "0")
            gives = "--resources=GPU=1" in container["args"]
            assert asked == ("1" if gives else "0"), where
            assert gives == (thing["kind"] == "DaskWorkerGroup"), where
            groups += gives
    assert groups == 2


def test_an_autoscaler_and_gpu_workers_never_meet(built: dict[str, list[Manifest]]) -> None:
    """The operator retires whichever worker is idle, of any group, to shrink the default one."""
    found = {
        name: (len(of_kind(things, "DaskAutoscaler")), len(of_kind(things, "DaskWorkerGroup")))
        for name, things in built.items()
    }
    assert found == {"cpu": (1, 0), "gpu": (0, 1), "local-kind": (0, 0), "production": (0, 1)}


def test_no_object_holds_a_secret(built: dict[str, list[Manifest]]) -> None:
    for where, thing in every(built):
        assert thing["kind"] != "Secret", where
        text = as_text(thing)
        assert not re.search(r"(AWS_SECRET|AKIA[0-9A-Z]{16}|BEGIN [A-Z ]*PRIVATE|password)", text)
    used = [
        source["secretRef"]
        for _, thing in every(built)
        for container in containers(thing)
        for source in container.get("envFrom", [])
        if "secretRef" in source
    ]
    assert {secret["name"] for secret in used} == {"cloudfree-object-store"}


def test_the_scheduler_gets_no_credentials(built: dict[str, list[Manifest]]) -> None:
    for things in built.values():
        [cluster] = of_kind(things, "DaskCluster")
        [container] = cluster["spec"]["scheduler"]["spec"]["containers"]
        assert "envFrom" not in container


def test_labels_are_those_that_others_select(built: dict[str, list[Manifest]]) -> None:
    for where, thing in every(built):
        labels = thing["metadata"]["labels"]
        assert labels["app.kubernetes.io/name"] == "cloudfree", where
        assert labels["app.kubernetes.io/part-of"] == "cloudfree", where
        if thing["kind"] != "Namespace":
            assert thing["metadata"]["namespace"] == "cloudfree", where


def test_no_other_pod_reaches_the_ports(built: dict[str, list[Manifest]]) -> None:
    [policy] = of_kind(built["cpu"], "NetworkPolicy")
    assert policy["spec"]["podSelector"] == {"matchLabels": {"app.kubernetes.io/name": "cloudfree"}}
    from_, operator = policy["spec"]["ingress"]
    open_ports = {
        port
        for rule in from_["ports"]
        for port in range(rule["port"], rule.get("endPort", rule["port"]) + 1)
    }
    listened = {
        port["containerPort"]
        for thing in built["cpu"]
        for container in containers(thing)
        for port in container.get("ports", [])
    }
    assert listened == open_ports == {8786, 8787, 8788, 8789, 8790}
    assert [peer for rule in (from_, operator) for peer in rule["from"] if peer == {}] == []


def read(file: str) -> Manifest:
    manifest: Manifest = yaml.safe_load((KUSTOMIZE / file).read_text())
    return manifest


@pytest.mark.parametrize("gpu_workers", [0, 3])
def test_the_command_line_creates_what_the_files_say(gpu_workers: int) -> None:
    settings = KubernetesSettings(
        namespace="here", image="a/b:1", gpu_image="a/b:2", workers_min=4, workers_max=7,
        gpu_workers=gpu_workers,
    )  # fmt: skip
    made = describe_cluster(settings, "cloudfree-1234")
    other = "overlays/gpu/gpu-workers.yaml" if gpu_workers else "overlays/cpu/autoscaler.yaml"
    files = [read("base/cluster.yaml"), read(other)]
    changed = {
        path: value
        for one, file in zip(made, files, strict=True)
        for path, value in _differences(file, one)
    }
    instance = {".metadata.labels.app.kubernetes.io/instance": "cloudfree-1234"}
    expected: dict[str, Any] = {
        "DaskCluster.metadata.name": "cloudfree-1234",
        "DaskCluster.metadata.namespace": "here",
        "DaskCluster.spec.scheduler.service.selector.dask.org/cluster-name": "cloudfree-1234",
        "DaskCluster.spec.scheduler.spec.containers.0.image": "a/b:1",
        "DaskCluster.spec.worker.spec.containers.0.image": "a/b:1",
        "DaskCluster.spec.worker.replicas": 7 if gpu_workers else 4,
    }
    if gpu_workers:
        kind = "DaskWorkerGroup"
        expected |= {
            "DaskWorkerGroup.metadata.name": "cloudfree-1234-gpu",
            "DaskWorkerGroup.spec.worker.spec.containers.0.image": "a/b:2",
            "DaskWorkerGroup.spec.worker.replicas": 3,
        }
    else:
        kind = "DaskAutoscaler"
        expected |= {
            "DaskAutoscaler.metadata.name": "cloudfree-1234",
            "DaskAutoscaler.spec.minimum": 4,
            "DaskAutoscaler.spec.maximum": 7,
        }
    expected |= {f"{kind}.metadata.namespace": "here", f"{kind}.spec.cluster": "cloudfree-1234"}
    for one in ("DaskCluster", kind):
        expected |= {f"{one}{key}": value for key, value in instance.items()}
    assert changed == expected
    assert [find_fault(thing) for thing in made] == ["", ""]


def _differences(old: Any, new: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    path = path or new["kind"]
    if isinstance(old, dict) and isinstance(new, dict):
        for key in old.keys() | new.keys():
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}")
    elif isinstance(old, list) and isinstance(new, list):
        for number, (one, two) in enumerate(itertools.zip_longest(old, new)):
            yield from _differences(one, two, f"{path}.{number}")
    elif old != new:
        yield path, new


def test_images_have_the_version_of_the_package() -> None:
    version = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())["project"]["version"]
    default = KubernetesSettings()
    assert default.image == f"cloudfree:{version}"
    assert default.gpu_image == f"cloudfree:{version}-cuda"
    files = [*KUSTOMIZE.rglob("*.yaml"), *(DEPLOY / "helm").glob("*.yaml")]
    named = [tag for file in files for tag in re.findall(r"cloudfree:(\S+)", file.read_text())]
    assert set(named) == {version, f"{version}-cuda"}
