from __future__ import annotations

from pathlib import Path

import pytest

from webhook.token.credentials import FIELDS, CredentialsError, find_credentials


def fill(folder: Path, **changes: str) -> Path:
    values = {"username": "a@b", "password": "p", "client-id": "c", "client-secret": "s", **changes}
    for name, value in values.items():
        (folder / name).write_text(value)
    return folder


def test_a_mounted_secret_is_read_without_the_newline_at_its_end(tmp_path: Path) -> None:
    found = find_credentials(folder=fill(tmp_path, password=" p \r\n"), environment={}, ask=None)
    assert (found.username, found.password, found.client_id, found.client_secret) == ("a@b", " p ", "c", "s")


def test_a_byte_order_mark_of_an_editor_is_not_a_part_of_the_password(tmp_path: Path) -> None:
    found = find_credentials(folder=fill(tmp_path, password="\ufeffp"), environment={}, ask=None)
    assert found.password == "p"


def test_a_file_that_cannot_be_read_is_named_with_the_reason(tmp_path: Path) -> None:
    (fill(tmp_path) / "password").write_bytes("planted".encode("utf-16"))
    with pytest.raises(CredentialsError, match=r"cannot read .*/password: it is not UTF-8") as caught:
        find_credentials(folder=tmp_path, environment={}, ask=None)
    assert "planted" not in str(caught.value)
    (tmp_path / "username").unlink()
    (tmp_path / "username").mkdir()
    with pytest.raises(CredentialsError, match=r"cannot read .*/username: Is a directory"):
        find_credentials(folder=tmp_path, environment={}, ask=None)


def test_the_environment_fills_what_no_file_gives(tmp_path: Path) -> None:
    found = find_credentials(folder=tmp_path, environment=dict.fromkeys(FIELDS.values(), "e"), ask=None)
    assert found.password == "e"


def test_a_terminal_is_asked_for_the_rest_and_an_empty_client_secret_means_a_public_client() -> None:
    asked: list[str] = []

    def ask(name: str) -> str:
        asked.append(name)
        return "" if name == "client-secret" else "x"

    assert find_credentials(folder=None, environment={}, ask=ask).client_secret == ""
    assert asked == list(FIELDS)


def test_a_variable_that_is_not_utf_8_is_named_and_not_shown() -> None:
    environment = dict.fromkeys(FIELDS.values(), "planted\udcff")
    with pytest.raises(CredentialsError, match="MLFLOW_TOKEN_USERNAME is not UTF-8") as caught:
        find_credentials(folder=None, environment=environment, ask=None)
    assert "planted" not in str(caught.value)


def test_what_is_missing_is_named_with_where_it_was_looked_for(tmp_path: Path) -> None:
    with pytest.raises(CredentialsError, match=r"no password: looked for file .*password, MLFLOW_TOKEN_PASSWORD"):
        find_credentials(folder=fill(tmp_path, password=""), environment={}, ask=None)
