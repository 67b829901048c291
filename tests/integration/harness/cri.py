# SPDX-License-Identifier: GPL-2.0-or-later
"""Kubernetes' container runtime interface, as the kubelet speaks it, for the calls in cri.proto."""

from __future__ import annotations

import importlib.util
import json
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc

from . import proc
from .net import Netns

PROTO = Path(__file__).with_name("cri.proto")
RUNNING = 1


def _messages(where: Path) -> Any:
    """The module that protoc makes of cri.proto."""
    proc.run(["protoc", f"-I{PROTO.parent}", f"--python_out={where}", PROTO]).check()
    spec = importlib.util.spec_from_file_location("cri_pb2", where / "cri_pb2.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class CriError(RuntimeError):
    """What the runtime answered instead."""


class Cri:
    def __init__(self, sock: Path, work: Path) -> None:
        self._services = _messages(work).DESCRIPTOR.services_by_name
        self._channel = grpc.insecure_channel(f"unix://{sock}")

    def call(self, method: str, **fields: object) -> Any:
        for service in self._services.values():
            if found := service.methods_by_name.get(method):
                break
        request = found.input_type._concrete_class
        call = self._channel.unary_unary(
            f"/{service.full_name}/{method}",
            request_serializer=request.SerializeToString,
            response_deserializer=found.output_type._concrete_class.FromString,
        )
        try:
            return call(request(**fields), timeout=60, wait_for_ready=True)
        except grpc.RpcError as error:
            raise CriError(f"{method}: {error.details()}") from None

    def close(self) -> None:
        self._channel.close()

    def ready(self) -> bool:
        try:
            return all(item.status for item in self.call("Status").status.conditions)
        except CriError:
            return False  # it says so, while it starts


@dataclass
class Pod:
    """A pod in a network of its own, and its containers."""

    cri: Cri
    work: Path
    handler: str = ""  # of the runtime; it has a network of its own
    name: str = field(default_factory=lambda: f"pod-{secrets.token_hex(3)}")
    annotations: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> None:
        logs = self.work / self.name
        logs.mkdir()
        self.config = {
            "metadata": {"name": self.name, "uid": self.name, "namespace": "default"},
            "log_directory": str(logs),
            "annotations": dict(self.annotations),
        }
        answer = self.cri.call(
            "RunPodSandbox", config=self.config, runtime_handler=self.handler
        )
        self.id = answer.pod_sandbox_id
        status = self.cri.call("PodSandboxStatus", pod_sandbox_id=self.id, verbose=True)
        spec = json.loads(status.info["info"])["runtimeSpec"]
        paths = [ns["path"] for ns in spec["linux"]["namespaces"] if ns["type"] == "network"]
        network = status.status.network
        self.netns = Netns(Path(paths[0]).name, network.ip, network.additional_ips[0].ip)

    def remove(self) -> None:
        """Ends the containers and the network, however far they are."""
        self.cri.call("StopPodSandbox", pod_sandbox_id=self.id)
        self.cri.call("RemovePodSandbox", pod_sandbox_id=self.id)

    def create(self, image: str, args: Sequence[str] = (), *, name: str = "main") -> Container:
        """image: its name, that of a checkpoint's image, or the path of a checkpoint's archive."""
        config = {
            "metadata": {"name": name},
            "image": {"image": image, "user_specified_image": image},
            "args": list(args),
            "log_path": f"{name}.log",
        }
        answer = self.cri.call(
            "CreateContainer",
            pod_sandbox_id=self.id,
            config=config,
            sandbox_config=self.config,
        )
        return Container(self, answer.container_id)


@dataclass
class Container:
    pod: Pod
    id: str

    def start(self) -> None:
        self.pod.cri.call("StartContainer", container_id=self.id)

    def checkpoint(self, archive: Path) -> None:
        self.pod.cri.call("CheckpointContainer", container_id=self.id, location=str(archive))

    def kill(self) -> None:
        self.pod.cri.call("StopContainer", container_id=self.id, timeout=0)

    def status(self) -> Any:
        return self.pod.cri.call("ContainerStatus", container_id=self.id, verbose=True)

    @property
    def running(self) -> bool:
        return self.status().status.state == RUNNING

    def pids(self) -> list[int]:
        """The processes, the first one first."""
        pid = json.loads(self.status().info["info"])["pid"]
        return proc.tree(pid) if pid else []
