"""perfload: load tests on Locust whose numbers can be trusted.

Importing this package does not import Locust, which monkey-patches the process; only `perfload.load` does.
"""

from perfload.errors import PerfloadError
from perfload.model import Phase

__all__ = ["PerfloadError", "Phase", "__version__"]

__version__ = "0.1.0"
