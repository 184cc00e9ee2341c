"""A Dask cluster on Kubernetes for as long as a run takes, made by the Dask operator.

What is created is what the files in ``deploy/kubernetes`` say, under a name of its own and with the
numbers and images of the settings. The operator turns these few objects into pods.
"""

from __future__ import annotations

import logging
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import yaml

from cloudfree.core.config import KubernetesSettings
from cloudfree.core.errors import SettingsError

logger = logging.getLogger(__name__)

Manifest = dict[str, Any]
"""A Kubernetes object, as its YAML is read."""

_SCHEDULER_PORT = 8786
_POLL_S = 1.0
_OPERATOR_S = 60.0
"""An operator that runs says within seconds that it has seen a cluster."""
_HOPELESS = ("ImagePullBackOff", "ErrImageNeverPull", "InvalidImageName", "CrashLoopBackOff")
"""Reasons of a waiting container that waiting does not mend: Kubernetes has tried several times."""
_PATIENT = (
    "CreateContainerConfigError",
    "CreateContainerError",
    "ErrImagePull",
    "RunContainerError",
)
"""Reasons that may pass, told once the patience is over."""


@contextmanager
def kubernetes_cluster(settings: KubernetesSettings) -> Iterator[str]:
    """Yield the address of a scheduler that has a worker of each kind; remove all of it at the end.

    The end comes also after an error or Ctrl-C. From outside of Kubernetes the address is one on
    loopback, forwarded through the API. Raises SettingsError where the cluster cannot be had:
    without the extra, access, the operator or permission, for an image that cannot be pulled, and
    for pods that are not ready within the patience.
    """
    try:
        import kr8s
    except ImportError:
        raise SettingsError(
            "--kubernetes needs the extra kubernetes: pip install 'cloudfree[kubernetes]'"
        ) from None
    name = f"cloudfree-{secrets.token_hex(4)}"
    with ExitStack() as stack:
        with _told_in_words(settings):
            # named, since kr8s keeps what it opened by what it was given
            kubeconfig = os.environ.get("KUBECONFIG")
            api = kr8s.api(namespace=settings.namespace, kubeconfig=kubeconfig)
            for manifest in describe_cluster(settings, name):
                thing = _make_object(manifest, api)
                stack.callback(_delete, thing)  # before it exists: Ctrl-C may come in between
                thing.create()
            logger.info("created the Dask cluster %s in namespace %s", name, settings.namespace)
            scheduler = _wait_until_ready(api, name, settings)
            address = stack.enter_context(_reach(scheduler, name, settings))
        yield address


def describe_cluster(settings: KubernetesSettings, name: str) -> list[Manifest]:
    """Return the objects of a cluster of that name: DaskCluster first, then what belongs to it.

    That is a DaskWorkerGroup where there are GPU workers and a DaskAutoscaler where there are none.
    """
    cluster = _read_manifest("base/cluster.yaml")
    cluster["spec"]["scheduler"]["service"]["selector"]["dask.org/cluster-name"] = name
    for group in ("scheduler", "worker"):
        cluster["spec"][group]["spec"]["containers"][0]["image"] = settings.image
    if settings.gpu_workers:
        cluster["spec"]["worker"]["replicas"] = settings.workers_max
        other = _read_manifest("overlays/gpu/gpu-workers.yaml")
        other["spec"]["worker"]["replicas"] = settings.gpu_workers
        other["spec"]["worker"]["spec"]["containers"][0]["image"] = settings.gpu_image
    else:
        cluster["spec"]["worker"]["replicas"] = settings.workers_min
        other = _read_manifest("overlays/cpu/autoscaler.yaml")
        other["spec"] |= {"minimum": settings.workers_min, "maximum": settings.workers_max}
    other["spec"]["cluster"] = name
    for manifest in (cluster, other):
        ending = manifest["metadata"]["name"].removeprefix("cloudfree")
        manifest["metadata"]["name"] = name + ending
        manifest["metadata"]["namespace"] = settings.namespace
        manifest["metadata"]["labels"]["app.kubernetes.io/instance"] = name
    return [cluster, other]


def _read_manifest(file: str) -> Manifest:
    """Return a file of ``deploy/kubernetes``: in the wheel, or beside the package."""
    package = Path(str(resources.files("cloudfree")))
    for root in (package / "_kubernetes", package.parent / "deploy" / "kubernetes"):
        if root.is_dir():
            manifest: Manifest = yaml.safe_load((root / file).read_text(encoding="utf-8"))
            return manifest
    raise SettingsError("this installation has no manifests for Kubernetes; install it again")


def _make_object(manifest: Manifest, api: Any) -> Any:
    from kr8s.objects import new_class

    kind = new_class(manifest["kind"], manifest["apiVersion"], asyncio=False)
    return kind(manifest, api=api)


def _delete(thing: Any) -> None:
    """Delete an object if it is there; where that fails say so, since it costs money."""
    import kr8s

    try:
        thing.delete()
    except kr8s.NotFoundError:
        pass
    except Exception as error:  # must not hide why the run ended
        logger.warning(
            "cannot remove %s %s (%s); do it with: kubectl -n %s delete %s %s",
            thing.kind, thing.name, error, thing.namespace, thing.kind.lower(), thing.name,
        )  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pod:
    """What matters of a pod."""

    name: str
    group: str
    """``scheduler``, or the name of its worker group."""
    ready: bool
    waits: str
    """Reason of a container that cannot start, or of a pod without a node; or empty."""
    message: str
    """What Kubernetes says about it."""


def _read_pod(raw: Manifest) -> _Pod:
    labels, status = raw["metadata"]["labels"], raw.get("status", {})
    conditions = {item["type"]: item for item in status.get("conditions", [])}
    states = [item.get("state", {}) for item in status.get("containerStatuses", [])]
    stuck = next((state["waiting"] for state in states if "waiting" in state), None)
    placed = conditions.get("PodScheduled", {})
    if stuck is None and placed.get("status") == "False":
        stuck = placed
    stuck = stuck or {}
    return _Pod(
        name=raw["metadata"]["name"],
        group=labels.get("dask.org/workergroup-name", "scheduler"),
        ready=conditions.get("Ready", {}).get("status") == "True",
        waits=stuck.get("reason", ""),
        message=" ".join(stuck.get("message", "").split()),
    )


def _wait_until_ready(api: Any, name: str, settings: KubernetesSettings) -> Any:
    """Return the scheduler's pod once it and one worker of each group are ready."""
    from kr8s.objects import Pod

    groups = {"scheduler", f"{name}-default"} | ({f"{name}-gpu"} if settings.gpu_workers else set())
    start = time.monotonic()
    while True:
        found = list(api.get(Pod, label_selector={"dask.org/cluster-name": name}))
        pods = [_read_pod(pod.raw) for pod in found]
        if groups <= {pod.group for pod in pods if pod.ready}:
            return found[[pod.group for pod in pods].index("scheduler")]
        for pod in pods:
            if pod.waits in _HOPELESS:
                raise SettingsError(_explain(pod))
        waited = time.monotonic() - start
        if not pods and waited > min(_OPERATOR_S, settings.patience_s):
            raise SettingsError(
                f"no pod of the Dask cluster {name} was made within {waited:.0f} s; see whether "
                f"the Dask operator runs and watches namespace {settings.namespace}, and whether "
                "the service account cloudfree is there"
            )
        if waited > settings.patience_s:
            raise SettingsError(_explain_delay(pods, groups, settings))
        time.sleep(_POLL_S)


def _explain(pod: _Pod) -> str:
    cure = {
        "CrashLoopBackOff": "read its log with kubectl logs",
        "Unschedulable": "the cluster has no room for it: ask for fewer workers or add nodes",
        "CreateContainerConfigError": "see whether the secrets that it names are there",
    }.get(pod.waits, "check image and gpu_image of [kubernetes], and what the registry asks for")
    said = f" ({pod.message})" if pod.message else ""
    return f"the pod {pod.name} cannot start: {pod.waits}{said}; {cure}"


def _explain_delay(pods: Sequence[_Pod], groups: set[str], settings: KubernetesSettings) -> str:
    missing = sorted(groups - {pod.group for pod in pods if pod.ready})
    late = [pod for pod in pods if pod.group in missing]
    telling = [pod for pod in late if pod.waits in (*_PATIENT, "Unschedulable")]
    why = (
        _explain(telling[0])
        if telling
        else f"{', '.join(pod.name for pod in late) or 'no pod'} does not become ready; see "
        "kubectl describe pod"
    )
    return f"not ready after {settings.patience_s:.0f} s (patience_s): {', '.join(missing)}; {why}"


def _reach(scheduler: Any, name: str, settings: KubernetesSettings) -> AbstractContextManager[str]:
    """Yield the scheduler's address: its service's inside of Kubernetes, else a forwarded one."""
    if "KUBERNETES_SERVICE_HOST" in os.environ:
        service = f"{name}-scheduler.{settings.namespace}"
        return nullcontext(f"tcp://{service}:{_SCHEDULER_PORT}")
    return _forward(scheduler)


@contextmanager
def _forward(scheduler: Any) -> Iterator[str]:
    with scheduler.portforward(_SCHEDULER_PORT, local_port="auto") as port:
        yield f"tcp://127.0.0.1:{port}"


@contextmanager
def _told_in_words(settings: KubernetesSettings) -> Iterator[None]:
    """Turn what the API answers into a SettingsError that says what to do."""
    import httpx
    import kr8s

    try:
        yield
    except kr8s.ServerError as error:
        code = error.response.status_code if error.response is not None else 0
        said = " ".join(str(error).split())
        if code == httpx.codes.NOT_FOUND and isinstance(error.status, dict):
            message = f"Kubernetes has no namespace {settings.namespace}: {said}. Create it"
        elif code == httpx.codes.NOT_FOUND:  # its way to say that it does not know the kind
            message = (
                "Kubernetes does not know the kind DaskCluster. Install the Dask operator; "
                "deploy/README.md says how"
            )
        elif code in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            message = (
                f"Kubernetes does not permit it: {said}. Bind the role cloudfree-launcher of "
                f"deploy/kubernetes to your user in namespace {settings.namespace}"
            )
        else:
            message = f"Kubernetes refused the cluster: {said}"
        raise SettingsError(message) from None
    except (kr8s.APITimeoutError, kr8s.ConnectionClosedError, httpx.HTTPError) as error:
        raise SettingsError(
            f"the Kubernetes API does not answer: {type(error).__name__} {error}. See whether "
            "kubectl version does"
        ) from None
    except (OSError, ValueError, KeyError) as error:
        raise SettingsError(
            f"there is no access to a Kubernetes cluster: {error}. Set KUBECONFIG, or run where "
            "kubectl works"
        ) from None
