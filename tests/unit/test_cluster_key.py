"""The one secret of a cluster: written, read back, and never shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perfload.cluster_key import VARIABLE, ClusterKey
from perfload.config import load_cluster_key, load_config
from perfload.errors import UsageError
from perfload.redact import redact

secrets = st.binary(min_size=32, max_size=32).map(ClusterKey)
KEY = ClusterKey(bytes(range(32)))


@given(key=secrets)
def test_a_key_is_read_as_it_was_written(key: ClusterKey) -> None:
    assert ClusterKey.parse(key.text) == key
    assert ClusterKey.parse(f" {key.text}\n") == key
    assert key.text.startswith("plk1_")
    assert len(key.text) == 53


def test_the_format_stays() -> None:
    """A key of today must still open the clusters of tomorrow."""
    assert KEY.text == "plk1_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh_KDjqS"
    assert (
        KEY.derive("curve server").hex() == "fdb23f37741c8586ab9f1c28c3a7da86ce74ec6bf87e22ba3d928fccec2aa89f"
    )


def test_no_two_keys_are_the_same() -> None:
    assert len({ClusterKey.generate().secret for _ in range(100)}) == 100
    assert len(ClusterKey.generate().secret) == 32


@given(key=secrets, place=st.integers(0, 52), character=st.sampled_from("aZ9_-*="))
def test_every_typo_is_noticed(key: ClusterKey, place: int, character: str) -> None:
    text = key.text[:place] + character + key.text[place + 1 :]
    if text != key.text:
        with pytest.raises(UsageError):
            ClusterKey.parse(text)


@given(text=st.text(max_size=60))
def test_any_other_text_is_no_key(text: str) -> None:
    with pytest.raises(UsageError):
        ClusterKey.parse(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (KEY.text[:-1], "has a typo, or a part is missing"),
        (KEY.text + "A", "has a typo, or a part is missing"),
        (KEY.text[:-1] + "A", "has a typo, or a part is missing"),
        ("hunter2", "is no cluster key"),
        (KEY.text[5:], "is no cluster key"),
    ],
)
def test_an_error_names_the_variable_and_shows_nothing_of_the_value(text: str, said: str) -> None:
    with pytest.raises(UsageError) as error:
        ClusterKey.parse(text, ".env.performance: PERFLOAD_CLUSTER_KEY")
    assert error.value.message == f".env.performance: PERFLOAD_CLUSTER_KEY {said}"
    assert "perfload cluster keygen" in error.value.hint
    assert text not in str(error.value)
    assert error.value.__cause__ is None


@given(key=secrets)
def test_what_is_derived_differs_by_purpose_and_by_key(key: ClusterKey) -> None:
    derived = [key.derive("curve server"), key.derive("curve client"), key.secret, KEY.derive("another")]
    assert len(set(derived)) == 4
    assert {len(held) for held in derived} == {32}
    assert key.derive("curve server") == ClusterKey(key.secret).derive("curve server")


def test_a_key_hides_itself() -> None:
    assert repr(KEY) == str(KEY) == "ClusterKey(***)"


def test_secrets_are_masked() -> None:
    assert redact(f"joined with {KEY.text}, twice") == "joined with ***, twice"
    assert redact(f"{VARIABLE}={KEY.text}") == f"{VARIABLE}=***"
    assert redact(f"{VARIABLE}=typo") == f"{VARIABLE}=***"
    assert redact({VARIABLE: "typo", "cluster_key": "typo"}) == {VARIABLE: "***", "cluster_key": "***"}


# --- where it is read from


def test_the_environment_is_stronger_than_the_file(tmp_path) -> None:
    other = ClusterKey.generate()
    (tmp_path / ".env.performance").write_text(f"{VARIABLE}={KEY.text}\n")
    assert load_cluster_key(directory=tmp_path, environ={}) == KEY
    assert load_cluster_key(directory=tmp_path, environ={VARIABLE: ""}) == KEY
    assert load_cluster_key(directory=tmp_path, environ={VARIABLE: other.text}) == other


@pytest.mark.parametrize("text", ["", f"{VARIABLE}=\n", "BACKEND_URL=http://localhost\n"])
def test_an_empty_key_is_none(tmp_path, text: str) -> None:
    (tmp_path / ".env.performance").write_text(text)
    assert load_cluster_key(directory=tmp_path, environ={}) is None


def test_a_bad_key_in_the_file_is_named_with_it(tmp_path) -> None:
    (tmp_path / ".env.performance").write_text(f"{VARIABLE}=hunter2\n")
    with pytest.raises(UsageError, match=rf"^\.env\.performance: {VARIABLE} is no cluster key"):
        load_cluster_key(directory=tmp_path, environ={})


def test_the_key_is_no_part_of_the_configuration(tmp_path) -> None:
    (tmp_path / ".env.performance").write_text(f"{VARIABLE}={KEY.text}\n")
    config = load_config(directory=tmp_path, environ={VARIABLE: KEY.text}, flags={})
    assert VARIABLE not in config.settings
    assert KEY.text not in repr(config)
