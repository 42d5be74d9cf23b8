"""The services of docker-compose.yml without an engine: each on a host of its own.

A host is a network namespace on the networks that the file gives the service, where the others have their
names. What runs on it is the service's command, with its environment; it has no capability and can write to
its volumes only.
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from perfload.units import parse_duration_s
from tests.integration.compose import mounts
from tests.integration.locust_runs import ROOT
from tests.integration.namespaces import ip

HOST_FILES = Path("/etc/netns")
"""`ip netns exec NAME` shows the files in the folder NAME here as those of /etc."""
NETWORKS = {"cluster": "10.214.1", "load": "10.214.2"}
"""The networks of the file, and where their addresses begin here."""
HEALTHY_WITHIN_S = 60.0


class Host:
    """A host for one container of a service."""

    def __init__(self, name: str, service: dict[str, Any], addresses: dict[str, str], folder: Path) -> None:
        self.namespace = f"perfload-{os.getpid()}-{name}"
        self.service = service
        self.addresses = addresses
        """Its address on each of its networks."""
        self.folder = folder
        """Its working folder, with what is mounted there."""
        self.process: subprocess.Popen[bytes] | None = None
        self._log = folder.with_suffix(".log")
        self._volumes = _fill(folder, service)

    @property
    def output(self) -> str:
        """Everything that it wrote."""
        return self._log.read_text("utf-8", "replace")

    def start(self) -> None:
        """Run the command of the service, through the entry point of the image."""
        image = ["entrypoint"] if "build" in self.service else []
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self._here("sh", "-euc", self._locked(), "sh", *image, *self.service["command"]),
                cwd=self.folder,
                env=self._environment(),
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def run(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Run one more command, to its end."""
        return subprocess.run(
            self._here(*command),
            env=self._environment(),
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def is_healthy(self) -> bool:
        """Run the health check of the service once."""
        kind, *command = self.service["healthcheck"]["test"]
        return self.run(*(("sh", "-c") if kind == "CMD-SHELL" else ()), *command).returncode == 0

    def wait_until_healthy(self) -> None:
        """Return once the health check passes."""
        deadline_s = time.monotonic() + HEALTHY_WITHIN_S
        while not self.is_healthy():
            assert self.process is not None
            assert self.process.poll() is None, self.output
            assert time.monotonic() < deadline_s, self.output
            time.sleep(0.2)

    def stop(self) -> int:
        """Stop it as an engine does, and return its exit code."""
        assert self.process is not None
        self.process.terminate()
        return self.process.wait(parse_duration_s(self.service["stop_grace_period"], "stop_grace_period"))

    def close(self) -> None:
        """End what still runs there."""
        listed = subprocess.run(["ip", "netns", "pids", self.namespace], capture_output=True, check=False)
        for pid in listed.stdout.split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
        if self.process is not None:
            self.process.wait()

    def _here(self, *command: str) -> list[str]:
        return ["ip", "netns", "exec", self.namespace, *command]

    def _environment(self) -> dict[str, str]:
        path = (self.folder / "bin", Path(sys.executable).parent, "/usr/bin", "/bin", "/usr/sbin", "/sbin")
        image = {
            "PATH": os.pathsep.join(map(str, path)),
            "HOME": str(self.folder),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
        }
        given = self.service.get("environment", {}).items()
        return image | {name: value for name, value in given if value is not None}

    def _locked(self) -> str:
        """Return a script that runs its arguments with no capability, and nothing to write to but volumes."""
        volumes = map(shlex.quote, map(str, self._volumes))
        binds = "".join(f"mount --bind {volume} {volume}; " for volume in volumes)
        locked = "exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs"
        return f'{binds} mount -o remount,bind,ro /; {locked} "$@"'


class Hosts:
    """The hosts, and the machine whose containers they stand for: it has an address on every network."""

    def __init__(self, services: dict[str, dict[str, Any]], names: Sequence[str], folder: Path) -> None:
        self.machine = f"perfload-{os.getpid()}-machine"
        self._hosts: dict[str, Host] = {}
        for position, name in enumerate(names, start=2):
            service = services[_service_of(name)]
            addresses = {network: f"{NETWORKS[network]}.{position}" for network in service["networks"]}
            self._hosts[name] = Host(name, service, addresses, folder / name)

    def __getitem__(self, name: str) -> Host:
        return self._hosts[name]

    def build(self) -> None:
        """Make the namespaces, and lay the networks between them."""
        self._add(self.machine)
        for network, prefix in NETWORKS.items():
            ip("-n", self.machine, "link", "add", network, "type", "bridge")
            ip("-n", self.machine, "address", "add", f"{prefix}.1/24", "dev", network)
            ip("-n", self.machine, "link", "set", network, "up")
        for host in self._hosts.values():
            self._add(host.namespace)
            for network in host.addresses:
                self._plug_in(host, network)
            folder = HOST_FILES / host.namespace
            folder.mkdir(parents=True)
            (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(self._seen_from(host)), "utf-8")

    def _add(self, namespace: str) -> None:
        ip("netns", "add", namespace)
        ip("-n", namespace, "link", "set", "lo", "up")

    def _plug_in(self, host: Host, network: str) -> None:
        address = host.addresses[network]
        port = f"{network[:4]}{address.rpartition('.')[2]}"
        far = ("netns", host.namespace)
        ip("link", "add", port, "netns", self.machine, "type", "veth", "peer", network, *far)
        ip("-n", self.machine, "link", "set", port, "master", network, "up")
        ip("-n", host.namespace, "address", "add", f"{address}/24", "dev", network)
        ip("-n", host.namespace, "link", "set", network, "up")

    def _seen_from(self, host: Host) -> Iterator[str]:
        """Yield the names that `host` knows: those of its own networks."""
        for name, other in self._hosts.items():
            for network in other.addresses.keys() & host.addresses.keys():
                aliases = (other.service["networks"][network] or {}).get("aliases", ())
                yield f"{other.addresses[network]} {' '.join((_service_of(name), *aliases))}\n"

    def close(self) -> None:
        """End everything, and leave nothing behind."""
        for host in self._hosts.values():
            host.close()
        for namespace in (self.machine, *(host.namespace for host in self._hosts.values())):
            subprocess.run(["ip", "netns", "delete", namespace], stderr=subprocess.DEVNULL, check=False)
            shutil.rmtree(HOST_FILES / namespace, ignore_errors=True)
        with contextlib.suppress(OSError):  # somebody else's files are there, or it never came so far
            HOST_FILES.rmdir()


def _service_of(name: str) -> str:
    return name.partition("-")[0]


def _fill(folder: Path, service: dict[str, Any]) -> list[Path]:
    """Make the working folder of a container and what is mounted there; return the volumes among it."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "health").symlink_to(ROOT / "deploy" / "health.py")
    (folder / "bin" / "entrypoint").symlink_to(ROOT / "deploy" / "entrypoint")
    volumes = []
    for source, target in mounts(service):
        place = folder / Path(target).name
        if not Path(source).is_absolute():
            place.mkdir()
            volumes.append(place)
        else:
            (shutil.copytree if Path(source).is_dir() else shutil.copy)(source, place)
    return volumes


@contextmanager
def hosts(services: dict[str, dict[str, Any]], names: Sequence[str], folder: Path) -> Iterator[Hosts]:
    """Make a host per name, such as `worker` and `worker-2`; skips where namespaces may not be made."""
    ip("netns", "list")  # without `ip` there is nothing to end either
    made = Hosts(services, names, folder)
    try:
        made.build()
        yield made
    finally:
        made.close()
