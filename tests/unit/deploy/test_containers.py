"""The image and the manifests: well-formed, strict, and consistent with the function."""

from __future__ import annotations

import copy
import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from cloudcoil.models.knative_serving.serving.v1 import Service as KnativeService
from packaging.utils import canonicalize_name

import sbom
from efss_transfer import __version__
from efss_transfer.cli import exit_codes
from efss_transfer.config.environment import PREFIX
from efss_transfer.config.platforms import platform_timeout
from efss_transfer.config.settings import SPARE_THREADS, Settings
from efss_transfer.site import site_file
from support import dockerfile
from support.pod_security import broken
from support.storages import ROOT

DEPLOY = ROOT / "deploy"
DOCKERFILES = [DEPLOY / "Dockerfile", DEPLOY / "openfaas" / "Dockerfile"]
KUBERNETES = [
    document
    for name in ("kubernetes.yaml", "networkpolicy.yaml")
    for document in yaml.safe_load_all((DEPLOY / name).read_text("utf-8"))
]
JOB = list(yaml.safe_load_all((DEPLOY / "kubernetes-job.yaml").read_text("utf-8")))
KNATIVE = yaml.safe_load((DEPLOY / "knative.yaml").read_text("utf-8"))
OPENFAAS = yaml.safe_load((DEPLOY / "openfaas/stack.yaml").read_text("utf-8"))["functions"][
    "efss-transfer"
]
NUCLIO = yaml.safe_load((DEPLOY / "nuclio/function.yaml").read_text("utf-8"))["spec"]
AZURE = json.loads((DEPLOY / "azure/host.json").read_text("utf-8"))
TMP = "/tmp"  # noqa: S108 - the writable mount of the manifests
GUNICORN_SECONDS = 30  # gunicorn's default graceful timeout


def of_kind(kind: str) -> Any:
    [found] = [it for it in KUBERNETES if it["kind"] == kind]
    return found


[COPY] = [it["spec"] for it in JOB if it["kind"] == "Job"]
DEPLOYMENT = of_kind("Deployment")["spec"]
PODS = {"kubernetes": DEPLOYMENT["template"], "knative": KNATIVE["spec"]["template"]}


def variables(entries: list[dict[str, str]]) -> dict[str, str]:
    return {entry["name"]: entry["value"] for entry in entries if "value" in entry}


ENVIRONMENTS = {
    **{name: variables(it["spec"]["containers"][0]["env"]) for name, it in PODS.items()},
    "job": variables(COPY["template"]["spec"]["containers"][0]["env"]),
    "openfaas": OPENFAAS["environment"],
    "nuclio": variables(NUCLIO["env"]),
    "image": dockerfile.variables(dockerfile.stages(DOCKERFILES[0])[-1]),
}
MEMORY = {
    "kubernetes": PODS["kubernetes"]["spec"]["containers"][0]["resources"]["limits"]["memory"],
    "knative": PODS["knative"]["spec"]["containers"][0]["resources"]["limits"]["memory"],
    "job": COPY["template"]["spec"]["containers"][0]["resources"]["limits"]["memory"],
    "nuclio": NUCLIO["resources"]["limits"]["memory"],
}


def settings(name: str) -> Settings:
    """The settings that the function reads from the environment of a manifest."""
    given = dict(ENVIRONMENTS[name])
    given.pop(f"{PREFIX}SITE", None)
    return Settings.read(given)


@pytest.mark.parametrize("file", DOCKERFILES, ids=["function", "openfaas"])
def test_hadolint_finds_no_problem(file: Path) -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    said = subprocess.run([hadolint, "--no-color", file], capture_output=True, text=True)
    assert (said.returncode, said.stdout) == (0, "")


@pytest.mark.parametrize("file", DOCKERFILES, ids=["function", "openfaas"])
def test_no_instruction_uses_a_shell(file: Path) -> None:
    for name, argument in dockerfile.instructions(file):
        if name in ("RUN", "CMD", "ENTRYPOINT", "HEALTHCHECK"):
            assert dockerfile.command(argument)


def test_image_runs_unprivileged_and_stops_on_sigterm() -> None:
    last = dict(dockerfile.stages(DOCKERFILES[0])[-1])
    user, group = map(int, last["USER"].split(":"))
    assert user
    assert group
    assert last["STOPSIGNAL"] == "SIGTERM"
    assert last["EXPOSE"] == ENVIRONMENTS["image"]["PORT"]
    assert "/healthz" in last["HEALTHCHECK"]
    for stage in dockerfile.stages(DOCKERFILES[0]):
        image = stage[0][1].split()[0]
        assert re.fullmatch(r"python:3\.11[\w.-]*-slim-\w+", image), "as the lock is made for"
    # The image of the watchdog sets no user and so keeps the one of the base image.
    assert "USER" not in dict(dockerfile.stages(DOCKERFILES[1])[-1])


def test_build_context_contains_only_what_is_copied() -> None:
    copied = [
        word
        for name, text in dockerfile.instructions(DOCKERFILES[0])
        if name == "COPY" and not text.startswith("--from")
        for word in text.split()[:-1]
    ]
    lines = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    rules = [line for line in lines if line and not line.startswith("#")]
    assert rules[0] == "*"
    let_in = {rule[1:] for rule in rules if rule.startswith("!")}
    assert {word for word in copied if word != "functions/main.py"} == let_in
    for word in copied:
        assert (ROOT / word).exists()


def locked(file: str) -> dict[str, set[str]]:
    """The hashes of each package and version in a lock file."""
    packages = re.split(r"\n(?=\S)", (ROOT / file).read_text("utf-8").strip())
    found = {}
    for package in packages:
        name, version = re.match(r"([\w.-]+)==(\S+)", package).groups()  # type: ignore[union-attr]
        hashes = re.findall(r"--hash=(sha256:[0-9a-f]{64})", package)
        assert hashes, name
        found[f"{canonicalize_name(name)}=={version}"] = set(hashes)
    return found


def test_image_has_the_tested_runtime_packages_only() -> None:
    tested = locked("scripts/requirements.lock")
    runs = locked("deploy/requirements.lock")
    assert {name.partition("==")[0] for name in runs} == sbom.runtime_packages()
    for name, hashes in (runs | locked("deploy/build-requirements.lock")).items():
        assert tested[name] == hashes
    for file in ("deploy/requirements.lock", "deploy/build-requirements.lock"):
        assert "://" not in (ROOT / file).read_text("utf-8")


@pytest.mark.parametrize("version", ["1.30", "1.32", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("document", [*KUBERNETES, *JOB], ids=lambda it: it["metadata"]["name"])
def test_manifests_fit_the_kubernetes_schemas(document: Any, version: str) -> None:
    kubernetes_validate.validate(document, version, strict=True)


def test_unknown_kubernetes_member_is_detected() -> None:
    wrong = copy.deepcopy(of_kind("Deployment"))
    wrong["spec"]["template"]["spec"]["containers"][0]["memory"] = "1Gi"
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, "1.32", strict=True)


def understood(document: Any) -> Any:
    """The document after a round trip through Knative's models."""
    model = KnativeService.model_validate(document)
    return model.model_dump(mode="json", by_alias=True, exclude_unset=True)


def test_knative_service_fits_the_models() -> None:
    assert understood(KNATIVE) == KNATIVE


def test_unknown_knative_member_is_detected() -> None:
    wrong = copy.deepcopy(KNATIVE)
    wrong["spec"]["template"]["spec"]["terminationGracePeriod"] = 1
    assert understood(wrong) != wrong
    wrong = copy.deepcopy(KNATIVE)
    wrong["spec"]["template"]["spec"]["timeoutSeconds"] = "long"
    with pytest.raises(ValueError, match="timeoutSeconds"):
        understood(wrong)


@pytest.mark.parametrize("name", PODS)
def test_pod_is_restricted(name: str) -> None:
    assert broken(PODS[name]["metadata"], PODS[name]["spec"]) == set()
    [container] = PODS[name]["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert PODS[name]["spec"]["automountServiceAccountToken"] is False
    assert PODS[name]["spec"]["enableServiceLinks"] is False


def test_job_is_restricted() -> None:
    template = COPY["template"]
    assert broken(template["metadata"], template["spec"]) == set()
    [container] = template["spec"]["containers"]
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert template["spec"]["automountServiceAccountToken"] is False
    assert template["spec"]["serviceAccountName"] == of_kind("ServiceAccount")["metadata"]["name"]
    assert container["image"] == f"efss-transfer:{__version__}"
    mounts = {it["name"] for it in container["volumeMounts"]}
    assert mounts == {it["name"] for it in template["spec"]["volumes"]}
    # The Service and the PodDisruptionBudget must not select these Pods.
    assert template["metadata"]["labels"] != DEPLOYMENT["template"]["metadata"]["labels"]
    [policy] = [it["spec"] for it in JOB if it["kind"] == "NetworkPolicy"]
    assert policy["podSelector"]["matchLabels"] == template["metadata"]["labels"]
    [egress] = [it["spec"]["egress"] for it in KUBERNETES if "egress" in it.get("spec", {})]
    assert policy["egress"] == egress
    assert "ingress" not in policy
    assert set(policy["policyTypes"]) == {"Egress", "Ingress"}


def test_each_index_of_the_job_copies_one_shard() -> None:
    assert COPY["completionMode"] == "Indexed"
    [container] = COPY["template"]["spec"]["containers"]
    assert f"--shard=$(JOB_COMPLETION_INDEX)/{COPY['completions']}" in container["args"]
    assert f"--result={container['terminationMessagePath']}" in container["args"]
    assert COPY["maxFailedIndexes"] == COPY["completions"] >= COPY["parallelism"]
    assert COPY["backoffLimitPerIndex"] > 0
    assert COPY["template"]["spec"]["restartPolicy"] == "Never"  # required by podFailurePolicy
    # Temporary failures are retried, permanent ones are not.
    [codes] = [it for it in COPY["podFailurePolicy"]["rules"] if "onExitCodes" in it]
    final = set(codes["onExitCodes"]["values"])
    again = {exit_codes.ERROR, exit_codes.TEMPORARY, exit_codes.TIME_LIMIT}
    assert codes["action"] == "FailIndex"
    assert final == set(range(2, 9)) - again
    assert not final & again
    config = next(it for it in JOB if it["kind"] == "ConfigMap")
    assert "authentication" not in json.loads(config["data"]["site.json"])


def _container(spec: Any) -> Any:
    return spec["containers"][0]


def _context(spec: Any) -> Any:
    return spec["containers"][0]["securityContext"]


BREACHES: list[tuple[str, Callable[[Any], Any]]] = [
    ("host namespaces", lambda it: it.update(hostNetwork=True)),
    ("host namespaces", lambda it: it.update(hostPID=True)),
    ("host namespaces", lambda it: it.update(hostIPC=True)),
    ("volume types", lambda it: it["volumes"].append({"name": "x", "hostPath": {"path": "/"}})),
    ("volume types", lambda it: it["volumes"].append({"name": "x", "nfs": {"path": "/"}})),
    ("sysctls", lambda it: it["securityContext"].update(sysctls=[{"name": "kernel.msgmax"}])),
    ("host process", lambda it: _context(it).update(windowsOptions={"hostProcess": True})),
    ("apparmor", lambda it: _context(it).update(appArmorProfile={"type": "Unconfined"})),
    ("selinux", lambda it: it["securityContext"].update(seLinuxOptions={"type": "spc_t"})),
    ("selinux", lambda it: it["securityContext"].update(seLinuxOptions={"user": "root"})),
    ("seccomp", lambda it: _context(it).update(seccompProfile={"type": "Unconfined"})),
    ("seccomp", lambda it: it["securityContext"].pop("seccompProfile")),
    ("user", lambda it: _context(it).update(runAsUser=0)),
    ("user", lambda it: it["securityContext"].update(runAsUser=0)),
    ("not root", lambda it: it["securityContext"].pop("runAsNonRoot")),
    ("not root", lambda it: _context(it).update(runAsNonRoot=False)),
    ("host probes", lambda it: _container(it)["livenessProbe"]["httpGet"].update(host="10.0.0.1")),
    ("privileged", lambda it: _context(it).update(privileged=True)),
    ("proc mount", lambda it: _context(it).update(procMount="Unmasked")),
    ("privilege escalation", lambda it: _context(it).pop("allowPrivilegeEscalation")),
    ("capabilities", lambda it: _context(it).update(capabilities={})),
    ("capabilities", lambda it: _context(it)["capabilities"].update(add=["SYS_ADMIN"])),
    ("host ports", lambda it: _container(it)["ports"][0].update(hostPort=8080)),
    (
        "capabilities",
        lambda it: it.update(initContainers=[{"name": "x", "image": "x", "securityContext": {}}]),
    ),
]


@pytest.mark.parametrize(
    ("control", "breach"), BREACHES, ids=[f"{n}-{name}" for n, (name, _) in enumerate(BREACHES)]
)
def test_breach_of_each_control_is_detected(control: str, breach: Callable[[Any], Any]) -> None:
    spec = copy.deepcopy(PODS["kubernetes"]["spec"])
    breach(spec)
    assert control in broken(PODS["kubernetes"]["metadata"], spec)


def test_annotation_that_disables_confinement_is_detected() -> None:
    name = "container.apparmor.security.beta.kubernetes.io/function"
    spec = PODS["kubernetes"]["spec"]
    assert broken({"annotations": {name: "unconfined"}}, spec) == {"apparmor"}


@pytest.mark.parametrize("name", PODS)
def test_ports_paths_and_volumes_match(name: str) -> None:
    spec = PODS[name]["spec"]
    [container] = spec["containers"]
    [port] = container["ports"]
    assert str(port["containerPort"]) == ENVIRONMENTS["image"]["PORT"]
    probes = [value for key, value in container.items() if key.endswith("Probe")]
    assert len(probes) >= 2
    for probe in probes:
        assert probe["httpGet"]["path"] == "/healthz"
        assert probe["httpGet"].get("port", port["name"]) == port["name"]
    assert {it["name"] for it in container["volumeMounts"]} == {
        it["name"] for it in spec["volumes"]
    }
    mounts = {it["mountPath"]: it for it in container["volumeMounts"]}
    assert "readOnly" not in mounts[TMP]
    assert str(Path(ENVIRONMENTS[name][f"{PREFIX}SITE"]).parent) in mounts
    [tmp] = [it for it in spec["volumes"] if it["name"] == mounts[TMP]["name"]]
    assert tmp["emptyDir"]["sizeLimit"]
    assert container["image"] == f"efss-transfer:{__version__}"
    assert spec["serviceAccountName"] == of_kind("ServiceAccount")["metadata"]["name"]
    assert of_kind("ServiceAccount")["automountServiceAccountToken"] is False


def test_every_selector_matches_the_pod() -> None:
    labels = PODS["kubernetes"]["metadata"]["labels"].items()
    selectors = [DEPLOYMENT["selector"]["matchLabels"], of_kind("Service")["spec"]["selector"]]
    selectors.append(of_kind("PodDisruptionBudget")["spec"]["selector"]["matchLabels"])
    policies = [it for it in KUBERNETES if it["kind"] == "NetworkPolicy"]
    assert {kind for it in policies for kind in it["spec"]["policyTypes"]} == {"Ingress", "Egress"}
    selectors += [it["spec"]["podSelector"]["matchLabels"] for it in policies]
    for selector in selectors:
        assert selector
        assert selector.items() <= labels
    for policy in policies:
        assert policy["spec"]["podSelector"]["matchLabels"].items() <= (
            PODS["knative"]["metadata"]["labels"].items()
        )
    assert of_kind("PodDisruptionBudget")["spec"]["minAvailable"] < DEPLOYMENT["replicas"]
    [port] = of_kind("Service")["spec"]["ports"]
    assert port["targetPort"] == PODS["kubernetes"]["spec"]["containers"][0]["ports"][0]["name"]


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_settings_are_valid_and_leave_spare_threads(name: str) -> None:
    chosen = settings(name)
    if "THREADS" in ENVIRONMENTS[name]:
        threads = int(ENVIRONMENTS[name]["THREADS"])
        assert chosen.concurrent_transfers + SPARE_THREADS <= threads


@pytest.mark.parametrize("name", MEMORY)
def test_all_concurrent_transfers_fit_into_memory(name: str) -> None:
    limit = int(MEMORY[name].removesuffix("Gi")) << 30
    chosen = settings(name)
    at_once = NUCLIO["triggers"]["http"]["numWorkers"] if name == "nuclio" else None
    own = 256 << 20 if at_once is None else at_once * 100 << 20
    rclones = (at_once or chosen.concurrent_transfers) * chosen.memory_bytes
    assert rclones + own <= limit


def test_grace_period_covers_the_last_response() -> None:
    chosen = settings("kubernetes")
    spec = PODS["kubernetes"]["spec"]
    before = spec["containers"][0]["lifecycle"]["preStop"]["sleep"]["seconds"]
    # The documented limit for a response once a transfer must end.
    assert 10 + 3 * chosen.rclone.stop_seconds + 1 < GUNICORN_SECONDS
    assert before + GUNICORN_SECONDS < spec["terminationGracePeriodSeconds"]


def test_platform_timeouts_exceed_the_function_duration() -> None:
    knative = KNATIVE["spec"]["template"]["spec"]
    assert settings("knative").duration_seconds < knative["timeoutSeconds"] <= 600
    assert knative["responseStartTimeoutSeconds"] == knative["timeoutSeconds"]
    assert knative["containerConcurrency"] <= int(ENVIRONMENTS["knative"]["THREADS"])
    openfaas = OPENFAAS["environment"]
    assert settings("openfaas").duration_seconds == platform_timeout(openfaas) == 300
    for name in ("read_timeout", "write_timeout"):
        assert float(openfaas[name].removesuffix("s")) > platform_timeout(openfaas)
    assert settings("nuclio").duration_seconds < float(NUCLIO["eventTimeout"].removesuffix("s"))
    assert (
        settings("nuclio").body_bytes
        == (NUCLIO["triggers"]["http"]["attributes"]["maxRequestBodySize"])
    )
    name = "AzureFunctionsJobHost__functionTimeout"
    adapter = (ROOT / "functions/function_app.py").read_text("utf-8")
    [seconds] = re.findall(r"^SECONDS = ([\d.]+)$", adapter, re.MULTILINE)
    assert float(seconds) <= 230 < platform_timeout({name: AZURE["functionTimeout"]})
    assert AZURE["extensions"]["http"]["routePrefix"] == ""


def test_site_file_in_the_manifest_is_valid(tmp_path: Path) -> None:
    text = of_kind("ConfigMap")["data"]["site.json"]
    container = PODS["kubernetes"]["spec"]["containers"][0]
    folder = "/run/secrets/efss-transfer"
    assert folder in [it["mountPath"] for it in container["volumeMounts"]]
    for secret in re.findall(rf"{folder}/([\w-]+)", text):
        (tmp_path / secret).write_text("x")
        # The command that creates the Secret names each of them.
        assert f"--from-file={secret}=" in (DEPLOY / "kubernetes.yaml").read_text("utf-8")
    (tmp_path / "site.json").write_text(text.replace(folder, str(tmp_path)))
    read = site_file.read(tmp_path / "site.json")
    assert read.authentication["mode"] != "none", "behind a proxy nobody would be served"


@pytest.mark.parametrize(
    "adapter", sorted((ROOT / "functions").glob("*.py")), ids=lambda it: it.stem
)
def test_entry_point_is_a_few_lines(adapter: Path) -> None:
    assert len(adapter.read_text("utf-8").splitlines()) <= 20
    if adapter.stem != "main":
        assert adapter.name in (DEPLOY / "README.md").read_text("utf-8") or "lambda" in adapter.stem
