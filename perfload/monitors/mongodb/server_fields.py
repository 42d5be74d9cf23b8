"""Which fields of `serverStatus` become which metrics.

A path is the names on the way to a number, joined by `/`. Where versions differ there are several, and the
first one that is there counts.
"""

from __future__ import annotations

from dataclasses import dataclass

MIB_BYTES = 1024 * 1024
_CACHE = "wiredTiger/cache"


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value of now. One that is `optional` is left out where a server does not have it."""

    metric: str
    unit: str
    paths: tuple[str, ...]
    factor: float = 1.0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Rate:
    """A counter, as its growth per second times `factor`."""

    metric: str
    unit: str
    paths: tuple[str, ...]
    factor: float = 1.0
    optional: bool = False


@dataclass(frozen=True, slots=True)
class Share:
    """A value of now in percent of another one, or of its sum with another one."""

    metric: str
    unit: str
    paths: tuple[str, ...]
    of: tuple[str, ...]
    of_sum: bool = False
    """True where `of` is the rest and not the whole."""


@dataclass(frozen=True, slots=True)
class Mean:
    """The growth of a total divided by that of a count of `noun`: the mean of what happened in between."""

    metric: str
    unit: str
    paths: tuple[str, ...]
    count: tuple[str, ...]
    noun: str
    factor: float = 1.0


Field = Gauge | Rate | Share | Mean

_OPERATIONS: tuple[Field, ...] = tuple(
    Rate(f"operations_per_s[{kind}]", "operations/s", (f"opcounters/{kind}",))
    for kind in ("insert", "query", "update", "delete", "getmore", "command")
)
_LATENCIES: tuple[Field, ...] = tuple(
    Mean(
        f"latency_mean_ms[{kind}]",
        "ms",
        (f"opLatencies/{kind}/latency",),
        count=(f"opLatencies/{kind}/ops",),
        noun=kind,
        factor=1e-3,
    )
    for kind in ("reads", "writes", "commands", "transactions")
)
_CONNECTIONS: tuple[Field, ...] = (
    *(
        Gauge(f"connections[{kind}]", "connections", (f"connections/{kind}",))
        for kind in ("current", "available", "active")
    ),
    Rate("connections_created_per_s", "connections/s", ("connections/totalCreated",)),
)
_LOCK: tuple[Field, ...] = (
    *(
        Gauge(f"lock_queue[{kind}]", "operations", (f"globalLock/currentQueue/{kind}",))
        for kind in ("readers", "writers")
    ),
    *(
        Gauge(f"active_clients[{kind}]", "clients", (f"globalLock/activeClients/{kind}",))
        for kind in ("readers", "writers")
    ),
)
_STORAGE: tuple[Field, ...] = (
    Share(
        "cache_used_percent",
        "%",
        (f"{_CACHE}/bytes currently in the cache",),
        of=(f"{_CACHE}/maximum bytes configured",),
    ),
    Share(
        "cache_dirty_percent",
        "%",
        (f"{_CACHE}/tracked dirty bytes in the cache",),
        of=(f"{_CACHE}/maximum bytes configured",),
    ),
    Rate("cache_read_bytes_per_s", "bytes/s", (f"{_CACHE}/bytes read into cache",)),
    Rate("cache_written_bytes_per_s", "bytes/s", (f"{_CACHE}/bytes written from cache",)),
    Rate(
        "cache_application_evictions_per_s",
        "pages/s",
        (
            f"{_CACHE}/pages evicted by application threads",
            "wiredTiger/eviction/pages evicted by application threads",
        ),
    ),
)


def _tickets(kind: str) -> tuple[Field, ...]:
    # In wiredTiger up to 7.x, in a section of their own since.
    homes = (f"queues/execution/{kind}", f"wiredTiger/concurrentTransactions/{kind}")
    out, available = (tuple(f"{home}/{state}" for home in homes) for state in ("out", "available"))
    return (
        Gauge(f"tickets_out[{kind}]", "tickets", out),
        Gauge(f"tickets_available[{kind}]", "tickets", available),
        Share(f"tickets_used_percent[{kind}]", "%", out, of=available, of_sum=True),
        Gauge(
            f"ticket_queue[{kind}]",
            "operations",
            tuple(f"{home}/normalPriority/queueLength" for home in homes),
            optional=True,
        ),
        Rate(
            f"ticket_wait_ms_per_s[{kind}]",
            "ms/s",
            tuple(f"{home}/normalPriority/totalTimeQueuedMicros" for home in homes),
            factor=1e-3,
            optional=True,
        ),
    )


_QUERIES: tuple[Field, ...] = (
    Rate("keys_examined_per_s", "keys/s", ("metrics/queryExecutor/scanned",)),
    Rate("documents_examined_per_s", "documents/s", ("metrics/queryExecutor/scannedObjects",)),
    Rate("collection_scans_per_s", "scans/s", ("metrics/queryExecutor/collectionScans/total",)),
    *(
        Rate(f"documents_per_s[{kind}]", "documents/s", (f"metrics/document/{kind}",))
        for kind in ("returned", "inserted", "updated", "deleted")
    ),
    Rate("sorts_in_memory_per_s", "sorts/s", ("metrics/operation/scanAndOrder",)),
    Rate("write_conflicts_per_s", "conflicts/s", ("metrics/operation/writeConflicts",)),
    Gauge("cursors_open", "cursors", ("metrics/cursor/open/total",)),
    Rate("cursors_timed_out_per_s", "cursors/s", ("metrics/cursor/timedOut",)),
)
_TRANSACTIONS: tuple[Field, ...] = (
    Gauge("transactions_open", "transactions", ("transactions/currentOpen",)),
    *(
        Rate(f"transactions_per_s[{kind.lower()}]", "transactions/s", (f"transactions/total{kind}",))
        for kind in ("Started", "Committed", "Aborted")
    ),
)
_MACHINE: tuple[Field, ...] = (
    Rate("network_received_bytes_per_s", "bytes/s", ("network/bytesIn",)),
    Rate("network_sent_bytes_per_s", "bytes/s", ("network/bytesOut",)),
    Rate("requests_per_s", "requests/s", ("network/numRequests",)),
    Gauge("memory_resident_bytes", "bytes", ("mem/resident",), factor=MIB_BYTES),
    Rate("page_faults_per_s", "faults/s", ("extra_info/page_faults",)),
    *(
        Rate(f"asserts_per_s[{kind}]", "asserts/s", (f"asserts/{kind}",))
        for kind in ("regular", "warning", "msg", "user")
    ),
    Gauge("flow_control_lagged", "0 or 1", ("flowControl/isLagged",)),
    Rate("flow_control_wait_ms_per_s", "ms/s", ("flowControl/timeAcquiringMicros",), factor=1e-3),
    Gauge("uptime_s", "s", ("uptimeMillis",), factor=1e-3),
)

FIELDS: tuple[Field, ...] = (
    *_OPERATIONS,
    *_LATENCIES,
    *_CONNECTIONS,
    *_LOCK,
    *_STORAGE,
    *_tickets("read"),
    *_tickets("write"),
    *_QUERIES,
    *_TRANSACTIONS,
    *_MACHINE,
)

UNREAD_SECTIONS = """
    activeIndexBuilds batchedDeletes bucketCatalog catalogStats changeStreamPreImages defaultRWConcern
    electionMetrics freeMonitoring health hedgingMetrics indexBuilds indexBulkBuilder indexStats
    internalTransactions locks logicalSessionRecordCache mirroredReads opcountersRepl oplogTruncation
    planCache queryAnalyzers queryStats querySettings readConcernCounters readPreferenceCounters repl
    scramCache security sharding shardingStatistics shardedIndexConsistency spillWiredTiger storageEngine
    tcmalloc tenantMigrations trafficRecording transportSecurity twoPhaseCommitCoordinator watchdog
"""
"""What the server need not write and send; one that a version does not have does no harm."""

UNREAD_METRICS = """
    abortExpiredTransactions aggStageCounters apiVersions changeStreams commands
    diskSpillingStorageMonitor dotsAndDollarsFields getLastError groupStats index mongos network
    operatorCounters query queryFramework repl sort storage ttl
"""
"""The same within the section `metrics`, most of which is a counter for each command there is."""
