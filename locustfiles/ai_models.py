"""The AI-model management system as its users use it: four scenarios, weighted.

    locust -f locustfiles/ai_models.py,shapes/load_test.py --host http://localhost:8000
    locust -f locustfiles/ai_models.py --host http://localhost:8000 --headless -u 100 -r 10 -t 60s

With a shape of phases, each virtual user runs its scenario once, thinks, and leaves; without one, users loop.
"""

from pathlib import Path
from typing import Any

from locust import constant, task

from perfload.load import DataFeeder, HttpUser, expect_json

ACCOUNTS = DataFeeder(Path(__file__).parent.parent / "data" / "test_data.csv", columns=("email", "password"))


class ModelUser(HttpUser):
    """A user with an account; a step that fails ends the scenario."""

    abstract = True

    def login(self) -> str | None:
        """Return an access token, or None if the login failed."""
        account = ACCOUNTS.take(self)
        with self.client.post("/api/auth/login", json=account, catch_response=True) as response:
            body = expect_json(response, status=200, keys=("access_token",))
        return body["access_token"] if body else None

    def request_as(self, token: str, method: str, path: str, **options: Any) -> Any:
        """Return the response, to be checked in a with-block, to the user that `token` stands for."""
        headers = {"Authorization": f"Bearer {token}"}
        return self.client.request(method, path, headers=headers, catch_response=True, **options)


class UserLogin(ModelUser):
    """Log in and look around."""

    weight = 20
    wait_time = constant(2)

    @task
    def log_in(self) -> None:
        """Log in."""
        self.login()


class GetModels(ModelUser):
    """Log in and list the models."""

    weight = 40
    wait_time = constant(1)

    @task
    def list_models(self) -> None:
        """Log in, then list the models that are available."""
        if token := self.login():
            with self.request_as(token, "GET", "/api/ai-models/available") as response:
                expect_json(response, status=200, kind=list)


class ConnectionTest(ModelUser):
    """Log in and test the connection to a provider."""

    weight = 30
    wait_time = constant(5)

    @task
    def test_connection(self) -> None:
        """Log in, then test the connection of one model."""
        if token := self.login():
            model = {"model_id": "openai-gpt35-turbo"}
            with self.request_as(token, "POST", "/api/ai-models/test-connection", json=model) as response:
                expect_json(response, status=200, keys=("status",))


class PerformanceMetrics(ModelUser):
    """Log in and read the metrics."""

    weight = 10
    wait_time = constant(3)

    @task
    def read_metrics(self) -> None:
        """Log in, then read the performance metrics."""
        if token := self.login():
            with self.request_as(token, "GET", "/api/ai-models/performance-metrics") as response:
                expect_json(response, status=200)
