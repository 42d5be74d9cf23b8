from importlib.metadata import EntryPoint

import pytest

from perfload.errors import UsageError
from perfload.monitors import BUILT_IN, ENTRY_POINT_GROUP, find_monitor
from perfload.monitors.host import HostMonitor

OTHER = EntryPoint("other", "perfload.monitors.host:HostMonitor.from_environment", ENTRY_POINT_GROUP)
NOT_IMPORTABLE = EntryPoint("broken", "there.is.no.such.module:make", ENTRY_POINT_GROUP)


@pytest.mark.parametrize("name", BUILT_IN)
def test_every_built_in_monitor_can_be_made_without_connecting(name: str) -> None:
    monitor = find_monitor(name)({})
    assert {method for method in ("open", "read", "close") if callable(getattr(monitor, method))} == {
        "open",
        "read",
        "close",
    }


def test_an_entry_point_adds_a_monitor() -> None:
    assert isinstance(find_monitor("other", installed=lambda: [OTHER])({}), HostMonitor)


def test_an_entry_point_is_imported_only_when_its_monitor_is_made() -> None:
    factory = find_monitor("broken", installed=lambda: [NOT_IMPORTABLE])
    with pytest.raises(ModuleNotFoundError, match="there"):
        factory({})


def test_an_entry_point_does_not_replace_a_built_in_monitor() -> None:
    impostor = EntryPoint("host", "there.is.no.such.module:make", ENTRY_POINT_GROUP)
    assert isinstance(find_monitor("host", installed=lambda: [impostor])({}), HostMonitor)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"there is no monitor 'gpus'\n  .*: .*gpu, host, .*other"):
        find_monitor("gpus", installed=lambda: [OTHER])
