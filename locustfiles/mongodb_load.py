"""The AI-model system's collections as its back end uses them, straight through pymongo: no HTTP in between.

    perfload seed --documents 100000
    locust -f locustfiles/mongodb_load.py,shapes/load_test.py
    locust -f locustfiles/mongodb_load.py --headless -u 50 -t 60s ModelReader MetricsAnalyst MetricWriter

MONGODB_URL in .env.performance or the environment names the server. `ModelTransaction` needs a replica set;
as in the last line, name the other classes where there is none.
"""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

from locust import constant, task

from perfload.load.database import DatabaseUser
from perfload.seeding.documents import (
    DAYS,
    FIRST_DAY,
    LIVE,
    TRIAL,
    email_of,
    measurement,
    model_id_of,
    scores,
)

LISTED = 20
RECENT = 500
BULK = 20


class ModelReader(DatabaseUser):
    """Reads: who am I, what may I use, what is it."""

    weight = 60
    wait_time = constant(1)

    @task(3)
    def list_models(self) -> None:
        """Look a user up, then list the newest of their models that are offered."""
        user = random.randrange(self.data.users)
        self.collection("users").find_one("by email", {"email": email_of(user)})
        self.collection("models").find(
            "by owner",
            {"owner": email_of(user), "status": {"$gte": TRIAL}},
            sort=[("created_at", -1)],
            limit=LISTED,
        )

    @task
    def read_model(self) -> None:
        """Read one model."""
        model = random.randrange(self.data.models)
        self.collection("models").find_one("by id", {"model_id": model_id_of(model)})


class MetricsAnalyst(DatabaseUser):
    """Aggregations over the metrics of one owner."""

    weight = 20
    wait_time = constant(3)

    @task(2)
    def compare_models(self) -> None:
        """Compare the owner's models by their latest calls."""
        self.collection("metrics").aggregate(
            "by model",
            [
                {"$match": {"owner": self.any_owner()}},
                {"$sort": {"created_at": -1}},
                {"$limit": RECENT},
                {"$group": {"_id": "$model_id", "calls": {"$sum": 1}, "mean_ms": {"$avg": "$latency_ms"}}},
            ],
        )

    @task
    def daily_tokens(self) -> None:
        """Add up a month's tokens day by day."""
        begin = FIRST_DAY + timedelta(days=random.randrange(DAYS - 30))
        day = {"$dateToString": {"date": "$created_at", "format": "%Y-%m-%d"}}
        month = {"$gte": begin, "$lt": begin + timedelta(days=30)}
        self.collection("metrics").aggregate(
            "by day",
            [
                {"$match": {"owner": self.any_owner(), "created_at": month}},
                {"$group": {"_id": day, "tokens": {"$sum": "$tokens"}}},
            ],
        )

    def any_owner(self) -> str:
        """Return the address of a user who has models."""
        return email_of(random.randrange(self.data.users))


class MetricWriter(DatabaseUser):
    """Writes: single metrics, metrics in bulk, and the life of a model."""

    weight = 15
    wait_time = constant(2)

    @task(4)
    def report_call(self) -> None:
        """Insert one metric."""
        self.collection("metrics").insert_one("one", self.metric())

    @task
    def report_calls(self) -> None:
        """Insert many metrics with one command."""
        self.collection("metrics").insert_many("bulk", [self.metric() for _ in range(BULK)])

    @task(2)
    def create_change_delete(self) -> None:
        """Create a model, retire it, delete it; only what this user has made is changed."""
        models = self.collection("models")
        own = models.insert_one("one", new_model(self))
        models.update_one("status", {"_id": own}, {"$set": {"status": TRIAL}})
        models.delete_one("own", {"_id": own})

    def metric(self) -> dict[str, Any]:
        """Return the metric of a call of some model, made now."""
        return new_metric(random.randrange(self.data.models), self)


class ModelTransaction(DatabaseUser):
    """Writes to two collections, both or none: a replica set is needed."""

    weight = 5
    wait_time = constant(3)
    needs_transactions = True

    @task
    def create_with_metric(self) -> None:
        """Create a model and its first metric."""

        def body(database: Any, session: Any) -> None:
            model = {"_id": self.new_id(), **new_model(self)}
            database.models.insert_one(model, session=session)
            metric = new_metric(random.randrange(self.data.models), self)
            metric |= {"_id": self.new_id(), "owner": model["owner"], "model_id": model["model_id"]}
            database.metrics.insert_one(metric, session=session)
            database.models.update_one({"_id": model["_id"]}, {"$set": {"status": LIVE}}, session=session)

        self.transaction("create model", body)


def new_model(user: DatabaseUser) -> dict[str, Any]:
    """Return a model that is not in the data set."""
    return {
        "model_id": user.new_id(),
        "owner": email_of(random.randrange(user.data.users)),
        "provider": "own",
        "model_name": "load",
        "display_name": "부하 시험 모델",
        "status": LIVE,
        "created_at": datetime.now(UTC),
        **scores(random.Random()),
    }


def new_metric(model: int, user: DatabaseUser) -> dict[str, Any]:
    """Return the metric of a call of model number `model`, made now."""
    return {
        "owner": user.data.owner_of(model),
        "model_id": model_id_of(model),
        "created_at": datetime.now(UTC),
        **measurement(random.Random()),
    }
