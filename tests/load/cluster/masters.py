"""A master without Locust: what it sends is kept, its run is on disk, and its clock is told the time."""

from types import SimpleNamespace
from typing import Any

import msgpack
from locust.exception import RPCSendError

from perfload.config import load_config
from perfload.load.cluster.master import MasterLink
from perfload.load.cluster.messages import BATCH, BEAT, encode_batches
from perfload.load.node import Assignment, Batch
from perfload.load.run import Run
from perfload.model import Manifest, NodeEvent, Phase
from perfload.plan import Plan
from perfload.shares import evenly
from perfload.store import load
from tests.load.cluster.batches import STARTED_AT_S, batch
from tests.load.conftest import wait_for

PLAN = Plan([Phase(name="Load", duration=10, arrival_rate=4)])
MANIFEST = Manifest(
    run_id="run-1",
    started_at_s=STARTED_AT_S,
    host="http://localhost",
    scenarios=("A",),
    shape="",
    phases=PLAN.spans,
    thresholds=(),
)
TERMS = Assignment(
    "run-1",
    "local",
    0,
    1,
    started_at_s=STARTED_AT_S,
    seed=9,
    eras=(evenly((0,), 0.0),),
    zero_s=1_000.0,
    lease_until_s=0.0,
    time_scale=60.0,
    shape="LoadTest",
    allow=("a.example.com", "*.b.example.com"),
)


class Clock:
    """Seconds of the run, as the test says."""

    started_at_s = STARTED_AT_S
    zero_s = 1_000.0

    def __init__(self) -> None:
        self.at_s = 0.0

    def now_s(self) -> float:
        return self.at_s


class Master:
    """A link over some workers, what it has sent to them, and a run."""

    def __init__(
        self, folder: Any, workers: int, *, plan: Plan | None = PLAN, missing: int = 0, **flags: Any
    ) -> None:
        flags = {"monitors.host": False, "run.reports_dir": "reports"} | flags
        self.run = Run(MANIFEST, load_config(directory=folder, environ={}, flags=flags), plan)
        self.clock = Clock()
        self.run.clock = self.clock  # type: ignore[assignment]
        self.sent: list[tuple[str, str, Any]] = []
        """(kind, client, data) of every message to a worker, as it arrives there."""
        self.is_cut = False
        """Whether sending fails."""
        self.clients = SimpleNamespace(ready=[], spawning=[], running=[], missing=[], all=[])
        self._handlers: dict[str, Any] = {}
        self.link = MasterLink(
            SimpleNamespace(
                clients=self.clients,
                get_worker_index=lambda client_id: int(client_id.removeprefix("host_")),
                send_message=self._send,
                register_message=lambda kind, handler, **_: self._handlers.update({kind: handler}),
            )
        )
        self._plan = plan
        for number in range(workers):
            client = SimpleNamespace(id=f"host_{number}")
            # As those of Locust, which are in different states.
            (self.clients.ready, self.clients.spawning, self.clients.running)[number % 3].append(client)
            self.clients.all.append(client)
        self.clients.missing += [SimpleNamespace(id=f"host_{workers + number}") for number in range(missing)]

    def _send(self, kind: str, data: Any, client_id: str) -> None:
        if self.is_cut:
            raise RPCSendError("ZMQ sent failure")
        self.sent.append((kind, client_id, msgpack.unpackb(msgpack.packb(data))))

    def begin(self) -> None:
        self.link.begin(self.run, TERMS, self._plan)

    def taken(self) -> list[tuple[str, str, Any]]:
        """Return what was sent since the last call."""
        sent, self.sent[:] = list(self.sent), []
        return sent

    def told(self, kind: str) -> list[tuple[str, Any]]:
        """Return (client, data) of the messages of one kind since the last call; forget the others."""
        return [(client, data) for name, client, data in self.taken() if name == kind]

    def hear(self, client: str, kind: str, data: Any) -> None:
        """Get a message of a worker."""
        self._handlers[kind](environment=None, msg=SimpleNamespace(data=data, node_id=client))

    def beat(self, client: str = "host_0", **said: Any) -> Any:
        """Get a beat; return the answer."""
        data = {"sent_s": 3.5, "run": "run-1", "version": 0, "users": 0, "at_s": self.clock.at_s} | said
        self.hear(client, BEAT, data)
        answers = [data for kind, name, data in self.sent if (kind, name) == (BEAT, client)]
        return answers[-1] if answers else None

    def batch(self, client: str, number: int, part: Batch, run_id: str = "run-1") -> None:
        """Get one batch in one message."""
        (data,) = encode_batches(number, run_id, part)
        self.hear(client, BATCH, data)

    def hand_in(self, client: str, number: int = 1) -> None:
        """Get the last batch of a worker, as its `number`-th."""
        node = f"worker-{client.removeprefix('host_')}"
        self.batch(client, number, batch(number - 1, final=True, node=node))

    def lose_first(self) -> None:
        """Let worker 0 fall silent in second 1, and be lost in second 3.1; the others stay."""
        self.clock.at_s = 1.0
        for client in self.clients.all:
            self.beat(client.id, users=3)
        self.clock.at_s = 3.0
        for client in self.clients.all[1:]:
            self.beat(client.id, users=3)
        self.taken()
        self.clock.at_s = 3.1
        wait_for(lambda: self.run.nodes["worker-0"].is_lost)

    def events(self) -> list[NodeEvent]:
        """Return what the record tells while the run goes on."""
        return list(load(self.run.folder).manifest.events)

    def closed(self) -> Any:
        """Return the record as it is in the end."""
        self.link.end()
        self.run.close("finished")
        return load(self.run.folder)
