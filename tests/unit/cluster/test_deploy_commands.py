"""What deploy/ starts: command lines that the real programs take, also those of the Helm chart."""

from __future__ import annotations

import importlib
import re
from typing import Any

import click
import pytest
import yaml
from dask.utils import parse_bytes
from distributed.cli import dask_scheduler, dask_worker

from cloudfree.cli import main
from cloudfree.cli.walk import run_command
from tests.manifests import DEPLOY, Manifest, containers, every, find_fault, pod_specs

COMMANDS: dict[tuple[str, str], click.Command] = {
    ("dask", "scheduler"): dask_scheduler.main,
    ("dask", "worker"): dask_worker.main,
    ("cloudfree", "run"): run_command,
}


def parse(args: list[str]) -> dict[str, Any]:
    """Return what the real command would be called with; fails for an option that it has not."""
    program, name, *rest = args
    command = COMMANDS[program, name]
    filled = [arg.replace("$(MEMORY_LIMIT)", "1GiB") for arg in rest]
    filled = [re.sub(r"/etc/cloudfree-tls/[a-z.]+$", __file__, arg) for arg in filled]
    # below its group, as on the command line: click keeps which options for help it found first
    group = click.Context(main, **main.context_settings) if command is run_command else None
    given = command.make_context(name, filled, parent=group).params
    # Dask takes an option that it does not know for an address, or an argument of a preload
    strange = [*given.get("preload_argv", ()), given.get("scheduler") or ""]
    if found := next((word for word in strange if word.startswith("-")), ""):
        raise click.NoSuchOption(found)
    return given


def test_command_lines_are_those_of_the_programs(built: dict[str, list[Manifest]]) -> None:
    parsed = set()
    for where, thing in every(built):
        for container in containers(thing):
            if container["args"][:2] == ["python", "-c"]:
                compile(container["args"][2], where, "exec")
                continue
            parse(container["args"])
            parsed.add(tuple(container["args"][:2]))
    assert parsed == set(COMMANDS)


def test_an_unknown_option_is_refused() -> None:
    with pytest.raises(click.NoSuchOption):
        parse(["dask", "worker", "--gpus=1"])
    with pytest.raises(click.NoSuchOption):
        parse(["dask", "scheduler", "--port=8786", "--gpus=1"])
    with pytest.raises(click.NoSuchOption):
        parse(["cloudfree", "run", "--aoi=a", "--date=2024-01-01", "--sheduler=x"])


def test_a_worker_is_one_process_with_the_limit_of_its_container(
    built: dict[str, list[Manifest]],
) -> None:
    for where, thing in every(built):
        for container in containers(thing):
            if container["args"][:2] != ["dask", "worker"]:
                continue
            given = parse(container["args"])
            assert given["n_workers"] == "1", where
            assert given["name"] == "$(DASK_WORKER_NAME)", where  # the operator retires by name
            assert "--memory-limit=$(MEMORY_LIMIT)" in container["args"], where
            [limit] = [item for item in container["env"] if item["name"] == "MEMORY_LIMIT"]
            source = limit["valueFrom"]["resourceFieldRef"]
            assert source == {"containerName": container["name"], "resource": "limits.memory"}
            importlib.import_module(given["preload_nanny"][0])


def test_tls_reaches_every_end(built: dict[str, list[Manifest]]) -> None:
    for _, thing in every({"production": built["production"]}):
        for pod in pod_specs(thing):
            assert [v for v in pod["volumes"] if v["name"] == "tls"], thing["metadata"]["name"]
        for container in containers(thing):
            args = container["args"]
            addresses = [
                item["value"]
                for item in container.get("env", [])
                if item["name"] == "DASK_SCHEDULER_ADDRESS"
            ]
            assert addresses == (
                [] if args[1] == "scheduler" else ["tls://cloudfree-scheduler:8786"]
            )
            if args[0] == "dask":
                given = parse(args)
                assert given["protocol"] == "tls"
                assert given["tls_ca_file"] == given["tls_cert"] == given["tls_key"] == __file__
                assert "--tls-ca-file=/etc/cloudfree-tls/ca.crt" in args


# What dask/dask knows, after its values.yaml (2023 to 2024; neither helm nor the chart is to be had
# from a package index). A misspelt key would be passed over by helm without a word.
CHART_WORKER = {
    "name", "image", "replicas", "strategy", "custom_scheduler_url", "default_resources", "env",
    "extraArgs", "resources", "mounts", "annotations", "tolerations", "affinity", "nodeSelector",
    "securityContext", "serviceAccountName", "port", "portDashboard", "threads_per_worker",
    "metrics", "livenessProbe", "readinessProbe",
}  # fmt: skip
CHART = {
    "scheduler": {
        "name", "enabled", "image", "replicas", "serviceType", "servicePort", "extraArgs",
        "resources", "tolerations", "affinity", "nodeSelector", "securityContext",
        "serviceAccountName", "metrics", "livenessProbe", "readinessProbe",
    },
    "worker": CHART_WORKER,
    "jupyter": {"enabled"},
}  # fmt: skip


def test_helm_values_are_known_to_the_chart_and_give_valid_pods() -> None:
    values = yaml.safe_load((DEPLOY / "helm" / "dask.yaml").read_text())
    assert set(values) == {*CHART, "additional_worker_groups"}
    for section, known in CHART.items():
        assert set(values[section]) <= known
    for group in (values["worker"], *values["additional_worker_groups"]):
        assert set(group) <= CHART_WORKER
        limits = group["resources"]["limits"]
        args = [  # as the chart's template writes them
            "scheduler:8786", "--nthreads", str(group["threads_per_worker"]),
            "--memory-limit", limits["memory"], "--no-dashboard", "--dashboard-address", "8790",
            *group["extraArgs"],
        ]  # fmt: skip
        given = parse(["dask", group["image"]["dask_worker"].removeprefix("dask-"), *args])
        assert parse_bytes(given["memory_limit"]) >= 8 * 2**30
        assert (given["resources"] == "GPU=1") == ("nvidia.com/gpu" in limits)
        pod = {
            "securityContext": group["securityContext"],
            "tolerations": group.get("tolerations", []),
            "containers": [
                {
                    "name": "worker", "image": "image", "args": args,
                    "resources": group["resources"], "env": group.get("env", []),
                }
            ],
        }  # fmt: skip
        thing = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "pod"}, "spec": pod}
        assert find_fault(thing) == ""
    assert "nvidia.com/gpu" not in values["scheduler"]["resources"]["limits"]
