"""Load on a MongoDB: users that talk to it directly, through pymongo.

What scenarios import:

from perfload.load.database import DatabaseUser, StepFailed
"""

from __future__ import annotations

from perfload.load.database.failures import StepFailed
from perfload.load.database.users import DatabaseUser

__all__ = ["DatabaseUser", "StepFailed"]
