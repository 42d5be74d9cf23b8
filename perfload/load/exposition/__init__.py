"""`--prometheus-port`: a run under way as Prometheus reads it."""

from perfload.load.exposition.server import Exposition

__all__ = ["Exposition"]
