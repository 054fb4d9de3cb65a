from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dex import jwt
from webhook.token.claims import NotATokenError, TokenProblem, problem_of, read_claims

NOW = datetime.now(UTC)


def test_a_tokens_claims_are_read() -> None:
    claims = read_claims(jwt(aud=["mlflow", "notebook"]))
    assert claims.owner == "alice@example.com"
    assert claims.groups == ("team-a", "ml")
    assert claims.audience == ("mlflow", "notebook")
    left = claims.left(NOW)
    assert left is not None
    assert timedelta(hours=23) < left < timedelta(hours=25)


def test_without_an_email_the_subject_is_the_owner() -> None:
    assert read_claims(jwt(email=None, email_verified=None)).owner == "CiQwOGE4Njg0Yi1kYjg4LTRiNzM"


@pytest.mark.parametrize(
    ("token", "problem"),
    [
        ("", TokenProblem.EMPTY),
        (" \n", TokenProblem.EMPTY),
        (jwt() + "\n", TokenProblem.WHITE_SPACE),
        (" " + jwt(), TokenProblem.WHITE_SPACE),
        (f'"{jwt()}"', TokenProblem.QUOTES),
        (f"Bearer {jwt()}", TokenProblem.BEARER_PREFIX),
        ("sha256~opaque", TokenProblem.NOT_A_JWT),
        ("a.b.c", TokenProblem.NOT_A_JWT),
        (jwt().rpartition(".")[0] + ".", TokenProblem.NOT_A_JWT),  # as with `alg: none`
        (jwt() + "!", TokenProblem.NOT_A_JWT),
        (jwt().replace(".", "*.", 1), TokenProblem.NOT_A_JWT),
        (jwt() + "=", TokenProblem.NOT_A_JWT),
        (jwt(exp=int(time.time()) - 5), TokenProblem.EXPIRED),
        (jwt(aud="other"), TokenProblem.OTHER_AUDIENCE),
        (jwt(email_verified=False), TokenProblem.EMAIL_NOT_VERIFIED),
        (jwt(), None),
    ],
)
def test_each_fault_has_its_own_problem(token: str, problem: TokenProblem | None) -> None:
    assert problem_of(token, now=NOW, audience="mlflow") is problem


def test_a_token_ends_in_the_very_second_it_says() -> None:
    end = int(time.time()) + 100
    token = jwt(exp=end)
    assert problem_of(token, now=datetime.fromtimestamp(end - 1, UTC)) is None
    assert problem_of(token, now=datetime.fromtimestamp(end, UTC)) is TokenProblem.EXPIRED


def test_no_two_problems_have_the_same_words() -> None:
    assert len({problem.sentence for problem in TokenProblem}) == len(TokenProblem)


@given(st.text() | st.builds(lambda a, b: f"{a}.{b}.x", st.text(), st.text()))
def test_no_text_raises_anything_else_and_none_is_repeated(text: str) -> None:
    said = ""
    try:
        read_claims(text)
    except NotATokenError as error:
        said = str(error)
    assert len(text) < 8 or text not in said
