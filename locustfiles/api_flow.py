"""The API performance chain: log in, who am I, list, create a model, delete that model.

locust -f locustfiles/api_flow.py,shapes/api_performance.py --host http://localhost:8000
"""

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from locust import constant, task

from perfload.load import HttpUser, expect_json, expect_status, record, setting


class AuthApiPerformance(HttpUser):
    """An administrator who goes through the API once; a step that fails ends the chain."""

    wait_time = constant(1)

    @task
    def chain(self) -> None:
        """Run the chain; the model is deleted only if this user created it."""
        token = self.login()
        if (
            token
            and self.read("/api/auth/me", token, dict)
            and self.read("/api/ai-models/available", token, list)
        ):
            model_id = f"test-model-{secrets.token_hex(6)}"
            if self.create(model_id, token):
                self.delete(model_id, token)

    def login(self) -> str:
        """Return the administrator's access token, or "" if the login failed."""
        account = {
            "email": setting("TEST_ADMIN_EMAIL", "admin@test.com"),
            "password": setting("TEST_ADMIN_PASSWORD", "testpass123"),
        }
        with self.measured("POST", "/api/auth/login", json=account) as response:
            body = expect_json(response, status=200, keys=("access_token",))
        return body["access_token"] if body else ""

    def read(self, path: str, token: str, kind: type) -> bool:
        """Return whether `path` gave a JSON object, or array."""
        with self.measured("GET", path, token) as response:
            return expect_json(response, status=200, kind=kind) is not None

    def create(self, model_id: str, token: str) -> bool:
        """Return whether model `model_id` was created."""
        model = {
            "model_id": model_id,
            "provider": "openai",
            "model_name": "gpt-3.5-turbo",
            "display_name": "Performance Test Model",
            "quality_score": 0.8,
            "speed_score": 0.9,
            "cost_efficiency": 0.85,
            "reliability_score": 0.9,
        }
        with self.measured("POST", "/api/ai-models/create", token, json=model) as response:
            return expect_status(response, 201)

    def delete(self, model_id: str, token: str) -> None:
        """Delete model `model_id`."""
        path = f"/api/ai-models/{model_id}"
        with self.measured("DELETE", path, token, name="/api/ai-models/[id]") as response:
            expect_status(response, 200, 204)

    @contextmanager
    def measured(self, method: str, path: str, token: str = "", **options: Any) -> Iterator[Any]:
        """Send a request and record the two metrics of the scripts that this chain replaces."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        with self.client.request(method, path, headers=headers, catch_response=True, **options) as response:
            record("api_response_time", response.request_meta["response_time"], "ms")
            record("api_status_code", response.status_code)
            yield response
