"""The user that scenarios of database load are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from locust import User
from locust.exception import StopTest

from perfload.errors import PerfloadError, UsageError
from perfload.load.database.collection import TimedCollection
from perfload.load.database.recording import Answer, OperationRecorder
from perfload.load.database.shared import LoadDatabase, Sharing
from perfload.load.pacing import dephase
from perfload.seeding.documents import DataSet

T = TypeVar("T")

_sharing: Sharing | None = None


class DatabaseUser(User):
    """A user of the MongoDB that `MONGODB_URL` names, with all others of this process on one pool.

    `self.collection("models").find("by owner", {...})` is one request of the report. docs/database-load.md
    has the interface.
    """

    abstract = True

    perfload_visit: Any = None
    """The arrival that this user is, in the open model; set by the dispatcher."""
    reaches_host_itself: ClassVar[bool] = True
    """The hosts of a replica set are tried by its driver, not one by one before the load."""
    pool_size: ClassVar[int] = 100
    """The most connections of a process, if `MONGODB_URL` has no maxPoolSize; the largest of the classes."""
    needs_transactions: ClassVar[bool] = False
    """True refuses a server that has none, before the load."""

    def __init__(self, environment: Any) -> None:
        super().__init__(environment)
        try:
            self._shared = _shared_by_all().open()
        except PerfloadError as error:
            # Any other error of a user that is being made is logged, and the test goes on without it.
            raise StopTest(str(error)) from error
        from perfload import load

        self._recorder = OperationRecorder(environment.events.request, load.record)
        self._collections: dict[str, TimedCollection] = {}

    @classmethod
    def perfload_check(cls) -> None:
        """Raise `UsageError` unless users of this class can do what they are for; called before the load."""
        from perfload.load import plugin

        assert plugin.installed is not None
        sharing = _shared_by_all()
        sharing.pool_size = max(sharing.pool_size, cls.pool_size)
        sharing.check(plugin.installed.environment)
        cls.host = sharing.database.shown
        if cls.needs_transactions and sharing.database.data and not sharing.database.has_transactions:
            raise UsageError(
                f"{cls.__name__} needs transactions: MongoDB at {sharing.database.address} is no replica set",
                hint="start mongod with --replSet and initiate it, or name the other user classes at the end "
                "of the command line",
            )

    @property
    def data(self) -> DataSet:
        """What `perfload seed` has put into the database: how many users, and what their keys are."""
        assert self._shared.data is not None
        return self._shared.data

    def collection(self, name: str) -> TimedCollection:
        """Return a collection whose every call is timed and recorded."""
        found = self._collections.get(name)
        if found is None:
            plain = self._shared.database[name]
            found = self._collections[name] = TimedCollection(plain, self._recorder, self.new_id)
        return found

    def new_id(self) -> str:
        """Return an `_id` for a document that is deleted when the run is over."""
        return self._shared.mark.new_id()

    def transaction(self, label: str, body: Callable[[Any, Any], T]) -> T:
        """Run `body(database, session)` in a transaction; the whole is one request: `transaction label`.

        Both arguments are pymongo's own: hand `session` to each of its calls, read cursors to their end, and
        take `new_id()` for what is inserted. MongoDB asks for a transaction that met another one to be run
        again, which happens here: `transaction_retries` counts how often.
        """
        from perfload import load

        attempts = 0

        def once(session: Any) -> T:
            nonlocal attempts
            attempts += 1
            return body(self._shared.database, session)

        def run() -> Answer[T]:
            with self._shared.client.start_session() as session:
                return Answer(session.with_transaction(once), 0)

        try:
            return self._recorder.run(f"transaction {label}", run)
        finally:
            load.record("transaction_retries", max(0, attempts - 1), "retries")

    def start(self, group: Any) -> Any:
        """Start the user, out of step with the others if it is paced."""
        if self.perfload_visit is None:
            dephase(self)
        return super().start(group)


def _shared_by_all() -> Sharing:
    """Return what all users of this process share, made at the first call."""
    global _sharing  # noqa: PLW0603  # one pool per process, as pymongo asks for
    if _sharing is None:
        from perfload import load
        from perfload.load import plugin

        assert plugin.installed is not None

        def make() -> LoadDatabase:
            return LoadDatabase(load.setting("MONGODB_URL"), load.setting("MONGODB_DATABASE"))

        _sharing = Sharing(make, plugin.installed)
        _sharing.listen(plugin.installed.environment.events)
    return _sharing
