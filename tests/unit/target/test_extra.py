from __future__ import annotations

import pytest

from perfload.errors import UsageError
from perfload.target import require_extra


def test_a_missing_package_names_the_extra() -> None:
    with pytest.raises(UsageError) as caught:
        require_extra(["json", "no_such_package_of_perfload"])
    assert caught.value.message == (
        "the target needs packages that are not installed: no_such_package_of_perfload"
    )
    assert caught.value.hint == "pip install 'perfload[target]'"
