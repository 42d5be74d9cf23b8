"""The `redis` monitor: what a Redis server says about itself.

`client.py` asks, `info.py` and `commands.py` turn INFO into numbers, `slow_log.py` and `latency.py` look for
what is new in the server's own logs, `monitor.py` puts them together. What each number means is in
docs/monitors/redis.md.
"""

from perfload.monitors.redis.monitor import RedisMonitor

__all__ = ["RedisMonitor"]
