"""The Pod Security Standards' profile `restricted`, which contains `baseline`: every control of
https://kubernetes.io/docs/concepts/security/pod-security-standards/ (Kubernetes 1.34), as rules
that a Pod breaks or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

_VOLUMES: Final = {
    *("configMap", "csi", "downwardAPI", "emptyDir", "ephemeral"),
    *("persistentVolumeClaim", "projected", "secret"),
}
_SELINUX: Final = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
_SYSCTLS: Final = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ping_group_range",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.tcp_wmem",
}
_APPARMOR: Final = "container.apparmor.security.beta.kubernetes.io/"


def broken(metadata: dict[str, Any], spec: dict[str, Any]) -> set[str]:
    """The names of the controls that a Pod does not keep to."""
    return {*_of_pod(metadata, spec), *_of_containers(spec)}


def _containers(spec: dict[str, Any]) -> list[dict[str, Any]]:
    kinds = ("containers", "initContainers", "ephemeralContainers")
    return [container for kind in kinds for container in spec.get(kind) or ()]


def _contexts(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield spec.get("securityContext") or {}
    for container in _containers(spec):
        yield container.get("securityContext") or {}


def _of_pod(metadata: dict[str, Any], spec: dict[str, Any]) -> Iterator[str]:
    pod = spec.get("securityContext") or {}
    if any(spec.get(name) for name in ("hostNetwork", "hostPID", "hostIPC")):
        yield "host namespaces"
    for volume in spec.get("volumes") or ():
        if not volume.keys() - {"name"} <= _VOLUMES:
            yield "volume types"
    if not {one["name"] for one in pod.get("sysctls") or ()} <= _SYSCTLS:
        yield "sysctls"
    for name, profile in (metadata.get("annotations") or {}).items():
        if name.startswith(_APPARMOR) and not (
            profile == "runtime/default" or profile.startswith("localhost/")
        ):
            yield "apparmor"
    for context in _contexts(spec):
        if (context.get("windowsOptions") or {}).get("hostProcess"):
            yield "host process"
        if (context.get("appArmorProfile") or {}).get("type") not in (
            *(None, "RuntimeDefault", "Localhost"),
        ):
            yield "apparmor"
        selinux = context.get("seLinuxOptions") or {}
        if (
            (selinux.get("type") or "") not in _SELINUX
            or selinux.get("user")
            or selinux.get("role")
        ):
            yield "selinux"
        if (context.get("seccompProfile") or {}).get("type") not in (
            *(None, "RuntimeDefault", "Localhost"),
        ):
            yield "seccomp"
        if context.get("runAsUser") == 0:
            yield "user"
        if context.get("runAsNonRoot") is False:
            yield "not root"
    if any("host" in hook and hook["host"] for hook in _hooks(spec)):
        yield "host probes"


def _of_containers(spec: dict[str, Any]) -> Iterator[str]:
    pod = spec.get("securityContext") or {}
    for container in _containers(spec):
        own = container.get("securityContext") or {}
        if own.get("privileged"):
            yield "privileged"
        if own.get("procMount") not in (None, "Default"):
            yield "proc mount"
        if own.get("allowPrivilegeEscalation") is not False:
            yield "privilege escalation"
        capabilities = own.get("capabilities") or {}
        if "ALL" not in (capabilities.get("drop") or ()) or not (
            set(capabilities.get("add") or ()) <= {"NET_BIND_SERVICE"}
        ):
            yield "capabilities"
        if any(port.get("hostPort") for port in container.get("ports") or ()):
            yield "host ports"
        # These may stand with the Pod, for all its containers.
        if not own.get("runAsNonRoot", pod.get("runAsNonRoot")):
            yield "not root"
        if not own.get("seccompProfile", pod.get("seccompProfile")):
            yield "seccomp"


def _hooks(spec: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """What a probe or a hook calls over the network."""
    for container in _containers(spec):
        lifecycle = container.get("lifecycle") or {}
        handlers = [container.get(f"{kind}Probe") for kind in ("liveness", "readiness", "startup")]
        handlers += [lifecycle.get("postStart"), lifecycle.get("preStop")]
        for handler in filter(None, handlers):
            for way in ("httpGet", "tcpSocket"):
                yield handler.get(way) or {}
