"""`--kubernetes` against tests.servers.kubernetes: a fake API that starts real Dask processes."""

from __future__ import annotations

import sys
import time
from itertools import product
from pathlib import Path

import pytest
import yaml
from distributed import Client

from cloudfree.cluster.kubernetes import kubernetes_cluster
from cloudfree.core.config import KubernetesSettings
from cloudfree.core.errors import SettingsError
from tests.manifests import DEPLOY
from tests.servers.kubernetes import FakeKubernetes, serve_kubernetes

SMALL = KubernetesSettings(workers_min=1, workers_max=1, patience_s=240)


@pytest.fixture(autouse=True)
def no_cluster_around(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "KUBECONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))


def reach(fake: FakeKubernetes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(fake.kubeconfig))


@pytest.mark.slow
def test_the_yielded_address_runs_jobs_on_both_kinds_of_worker_and_all_is_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = KubernetesSettings(workers_max=2, gpu_workers=1, patience_s=240)
    with serve_kubernetes(tmp_path) as fake:
        reach(fake, monkeypatch)
        with kubernetes_cluster(settings) as address, Client(address, timeout=60) as client:
            client.wait_for_workers(3, timeout=120)
            assert client.submit(sum, [1, 2, 4]).result(timeout=60) == 7
            assert client.submit(abs, -3, resources={"GPU": 1}).result(timeout=60) == 3
            workers = client.scheduler_info(n_workers=-1)["workers"].values()
            assert sorted(worker["resources"].get("GPU", 0) for worker in workers) == [0, 0, 1]
            limits = sorted(worker["memory_limit"] for worker in workers)
            assert limits == [8 * 2**30, 8 * 2**30, 16 * 2**30]
            assert fake.told()["run"] == 4
        told = fake.told()
        assert [thing["kind"] for thing in told["created"]] == ["DaskCluster", "DaskWorkerGroup"]
        assert told["exists"] == []
        assert told["run"] == 0
        assert {tuple(pair) for pair in told["asked"]} <= permitted()


def permitted() -> set[tuple[str, str]]:
    """Return what the role for people who use --kubernetes permits."""
    file = DEPLOY / "kubernetes" / "base" / "serviceaccounts.yaml"
    things = yaml.safe_load_all(file.read_text())
    [role] = [thing for thing in things if thing["kind"] == "Role"]
    return {pair for rule in role["rules"] for pair in product(rule["verbs"], rule["resources"])}


@pytest.mark.slow
@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_the_cluster_goes_after_an_error_and_ctrl_c(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException]
) -> None:
    with serve_kubernetes(tmp_path) as fake:
        reach(fake, monkeypatch)
        with pytest.raises(error), kubernetes_cluster(SMALL):
            assert fake.told()["exists"] != []
            raise error
        told = fake.told()
        assert [thing["kind"] for thing in told["created"]] == ["DaskCluster", "DaskAutoscaler"]
        assert (told["exists"], told["run"]) == ([], 0)


@pytest.mark.slow
def test_inside_of_kubernetes_the_service_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_kubernetes(tmp_path) as fake:
        reach(fake, monkeypatch)
        monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "10.0.0.1")
        with kubernetes_cluster(SMALL) as address:
            [cluster, _] = fake.told()["created"]
            assert address == f"tcp://{cluster['metadata']['name']}-scheduler.cloudfree:8786"


@pytest.mark.parametrize(
    ("trouble", "patience_s", "says"),
    [
        ("no-crds", 600, r"Install the Dask operator"),
        ("no-namespace", 600, r'no namespace cloudfree: namespaces "cloudfree" not found'),
        ("forbidden", 600, r"does not permit it: .*cloudfree-launcher"),
        ("no-operator", 2, r"no pod .* within [2-9] s.*Dask operator runs"),
        ("no-image", 600, r"-default-worker-\d+ cannot start: ImagePullBackOff \(Back-off pulling"),
        ("crash", 600, r"-scheduler-0 cannot start: CrashLoopBackOff .*kubectl logs"),
        ("full", 3, r"after 3 s \(patience_s\): .*-default[^;]*;.*Unschedulable \(0/3 nodes are"),
        ("no-secret", 3, r'CreateContainerConfigError \(secret "cloudfree-tls" not found\)'),
    ],
)
def test_what_keeps_a_cluster_from_starting_is_told_in_one_line_and_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, trouble: str, patience_s: float, says: str
) -> None:
    settings = KubernetesSettings(workers_min=1, workers_max=2, patience_s=patience_s)
    with serve_kubernetes(tmp_path, trouble) as fake:
        reach(fake, monkeypatch)
        start = time.monotonic()
        with pytest.raises(SettingsError, match=says) as caught, kubernetes_cluster(settings):
            pytest.fail("there is no cluster")
        assert "\n" not in str(caught.value)
        assert time.monotonic() - start < 120  # of a patience of 600, where waiting is no cure
        assert (fake.told()["exists"], fake.told()["run"]) == ([], 0)


def test_without_a_kubeconfig_the_request_is_wrong() -> None:
    with (
        pytest.raises(SettingsError, match=r"no access to a Kubernetes cluster.*KUBECONFIG"),
        kubernetes_cluster(SMALL),
    ):
        pytest.fail("there is no cluster")


def test_an_api_that_does_not_answer_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with serve_kubernetes(tmp_path) as fake:
        reach(fake, monkeypatch)
    with (
        pytest.raises(SettingsError, match="the Kubernetes API does not answer"),
        kubernetes_cluster(SMALL),
    ):
        pytest.fail("there is no cluster")


def test_without_the_extra_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "kr8s", None)
    with (
        pytest.raises(SettingsError, match=r"pip install 'cloudfree\[kubernetes\]'"),
        kubernetes_cluster(SMALL),
    ):
        pytest.fail("there is no cluster")
