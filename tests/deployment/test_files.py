"""The files of `deploy/`: what they name is there: settings that something reads, commands, ports, probes, files."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import pytest
import uvicorn
import yaml

from langgraph_rlm.cli.main import main as command
from langgraph_rlm.server import Settings, create_app

from .cluster import PROBES, ROOT, engine_python

DEPLOY = ROOT / "deploy"
KUBERNETES = DEPLOY / "kubernetes"
OF_OTHERS = {
    "DATABASE_URL": "prepare.py, and the engine",
    "PGPASSWORD": "PostgreSQL's clients, asyncpg included",
    "OPENAI_API_KEY": "langchain-openai",
    "POSTGRES_USER": "the image of PostgreSQL",
    "POSTGRES_DB": "the image of PostgreSQL",
    "POSTGRES_PASSWORD": "the image of PostgreSQL",
    "PGDATA": "the image of PostgreSQL",
}
"""Variables that others read, and who."""
PORTS = {"workers": 2026, "serve": 8000}


def compose() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.yaml").read_text())


def manifests() -> list[dict[str, Any]]:
    files = sorted(KUBERNETES.glob("*.yaml"))
    return [each for file in files for each in yaml.safe_load_all(file.read_text())]


def containers() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each container of the manifests, with the name of what it is part of."""
    for each in manifests():
        pod = each.get("spec", {}).get("template", {}).get("spec")
        for container in [
            *(pod or {}).get("initContainers", []),
            *(pod or {}).get("containers", []),
        ]:
            yield each["metadata"]["name"], container


def named(env: list[Mapping[str, Any]]) -> set[str]:
    return {each["name"] for each in env}


def variables() -> set[str]:
    """Every variable that a process of the deployment gets."""
    found: set[str] = set()
    for service in compose()["services"].values():
        found |= set(service.get("environment", {}))
    for _, container in containers():
        found |= named(container.get("env", []))
    for each in manifests():
        if each["kind"] == "ConfigMap":
            found |= set(each["data"])
    return found


def test_every_variable_is_one_that_something_reads() -> None:
    source = "\n".join(
        path.read_text()
        for folder in (ROOT / "langgraph_rlm", ROOT / "graphs")
        for path in folder.rglob("*.py")
    )
    ours = set(re.findall(r"\b(?:LANGGRAPH_RLM|OPENAI)_[A-Z_]+\b", source))
    unknown = variables() - ours - set(OF_OTHERS)
    assert unknown <= settings_of_the_engine(), f"nobody reads {sorted(unknown)}"


def settings_of_the_engine() -> set[str]:
    """The names of Aegra's settings, as its own classes have them."""
    python = engine_python_or_skip()
    program = (
        "from pydantic_settings import BaseSettings; from aegra_api import settings as of; "
        "kinds = [k for k in vars(of).values() if isinstance(k, type) and issubclass(k, BaseSettings)]; "
        "print(*{name for kind in kinds for name in kind.model_fields})"
    )
    told = subprocess.run([python, "-c", program], capture_output=True, text=True, check=True)
    return set(told.stdout.split())


def engine_python_or_skip() -> Path:
    from ..faults.databases import CannotStart

    try:
        return engine_python()
    except CannotStart as error:
        pytest.skip(str(error))


def commands() -> Iterator[list[str]]:
    for name, service in compose()["services"].items():
        if name in {"prepare", "workers", "serve"}:
            yield service["command"]
    for name, container in containers():
        if name in PORTS:
            yield [*container["command"], *container.get("args", [])]


def test_every_command_is_one_that_its_program_takes() -> None:
    seen: set[str] = set()
    for program, *arguments in commands():
        seen.add(program)
        if program == "langgraph-rlm":
            name, *options = arguments
            found = command.get_command(click.Context(command), name)
            assert found is not None, name
            found.make_context(name, options)  # parses, and runs nothing
        elif program == "uvicorn":
            uvicorn.main.make_context("uvicorn", arguments)
        else:
            (script,) = arguments
            assert (ROOT / Path(script).relative_to("/app")).is_file()
    assert seen == {"langgraph-rlm", "uvicorn", "python"}


def test_every_probe_asks_a_path_that_its_server_has() -> None:
    ours = {getattr(route, "path", "") for route in create_app(Settings()).routes}
    asked = [
        (name, probe["httpGet"]["path"])
        for name, container in containers()
        for kind, probe in container.items()
        if kind.endswith("Probe") and "httpGet" in probe
    ]
    for name, service in compose()["services"].items():
        tested = " ".join(service.get("healthcheck", {}).get("test", []))
        asked += [(name, path) for path in re.findall(r"http://127\.0\.0\.1:\d+(/\w+)", tested)]
    assert {name for name, _ in asked} == set(PORTS)
    for name, path in asked:
        assert path in (ours if name == "serve" else PROBES), (name, path)


def test_ports_are_the_same_everywhere() -> None:
    for name, port in PORTS.items():
        service = compose()["services"][name]
        assert str(port) in service["command"]
        assert f":{port}/" in service["healthcheck"]["test"][-1]
        assert f"{name}:{port};" in (DEPLOY / "nginx.conf").read_text()
        (container,) = [c for of, c in containers() if of == name and "ports" in c]
        assert container["ports"][0]["containerPort"] == port
        assert f"--port={port}" in container["args"]


def test_secrets_are_in_no_file_and_each_has_an_example() -> None:
    text = (DEPLOY / "compose.yaml").read_text()
    example = (DEPLOY / "env.example").read_text()
    lines = dict(line.split("=", 1) for line in example.splitlines() if re.match(r"\w+=", line))
    assert set(re.findall(r"\$\{(\w+)", text)) == set(lines)
    keys = set(
        re.findall(r"name: langgraph-rlm, key: (\w+)", (KUBERNETES / "workers.yaml").read_text())
    )
    assert keys <= set(lines)
    must = set(re.findall(r"\$\{(\w+):\?", text))
    assert {name for name in lines if not lines[name]} >= must, "a secret has a value here"


def test_a_pod_has_more_time_to_end_than_what_it_runs_takes() -> None:
    for each in manifests():
        if each["kind"] != "Deployment" or each["metadata"]["name"] not in PORTS:
            continue
        pod = each["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        numbers = re.findall(
            r"--(?:stop-seconds|timeout-graceful-shutdown)=(\d+)", " ".join(container["args"])
        )
        sleep = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        drain = 20 if each["metadata"]["name"] == "workers" else 0
        assert sum(map(int, numbers)) + sleep + drain < pod["terminationGracePeriodSeconds"]


def test_what_runs_code_of_models_has_no_rights() -> None:
    for name, service in compose()["services"].items():
        if name in {"prepare", "workers", "serve", "proxy"}:
            assert service["read_only"] and service["cap_drop"] == ["ALL"]
            assert service["security_opt"] == ["no-new-privileges:true"]
    for name, container in containers():
        locked = container["securityContext"]
        assert locked["allowPrivilegeEscalation"] is False, name
        assert locked["capabilities"] == {"drop": ["ALL"]}, name
    assert re.search(r"^USER 10001", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)


def test_what_the_image_copies_is_there_and_not_ignored() -> None:
    copied = re.findall(
        r"^COPY (?!--from)(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE
    )
    let_in = {
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().split()
        if line[0] == "!"
    }
    for path in " ".join(copied).split():
        assert (ROOT / path).exists(), path
        assert path.split("/")[0] in let_in, path


def test_compose_is_of_its_schema() -> None:
    pytest.importorskip("check_jsonschema", reason="pip install check-jsonschema has the schema")
    options = ["--builtin-schema", "vendor.compose-spec", str(DEPLOY / "compose.yaml")]
    subprocess.run([sys.executable, "-m", "check_jsonschema", *options], check=True)


@pytest.mark.parametrize("path", sorted(KUBERNETES.glob("*.yaml")), ids=lambda path: path.stem)
def test_manifests_are_of_their_schemas(path: Path) -> None:
    """By `kubernetes-validate`, which has the schemas of 20 versions and 100 MB: install it to have this run."""
    validate = pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate")
    for each in yaml.safe_load_all(path.read_text()):
        if each["kind"] != "Kustomization":
            validate.validate(each, "1.34", strict=True)


def test_what_the_kustomization_names_is_there() -> None:
    given = yaml.safe_load((KUBERNETES / "kustomization.yaml").read_text())
    files = {path.name for path in KUBERNETES.glob("*.yaml")} - {"kustomization.yaml"}
    assert set(given["resources"]) == files
