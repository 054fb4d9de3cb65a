"""What is read from a token, and each thing that can be wrong with it, at its boundary."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.dex import jwt
from webhook.token.claims import Claims, NotATokenError, form_problem, problem_of, read_claims
from webhook.token.problems import TokenProblem

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
SECONDS = int(NOW.timestamp())


def part(content: object) -> str:
    encoded = base64.urlsafe_b64encode(content if isinstance(content, bytes) else json.dumps(content).encode())
    return encoded.rstrip(b"=").decode()


def token(*, header: dict[str, Any] | None = None, **claims: Any) -> str:
    """Return a token by ES256, whose signature nobody verifies here."""
    usual = {"iss": "http://dex/dex", "sub": "CiQw", "aud": "mlflow", "exp": SECONDS + 100, "email": "a@b.c"}
    body = {name: value for name, value in {**usual, **claims}.items() if value is not None}
    return ".".join((part(header or {"alg": "ES256", "kid": "k1"}), part(body), part(b"\xfb" * 64)))


def test_every_claim_is_read() -> None:
    text = token(
        groups=["team-a", "ml"],
        aud=["mlflow", "notebook"],
        azp="notebook",
        email_verified=True,
        iat=SECONDS,
        nbf=SECONDS + 1,
        exp=SECONDS + 2.5,
    )
    assert read_claims(text) == Claims(
        subject="CiQw",
        email="a@b.c",
        email_verified=True,
        groups=("team-a", "ml"),
        audience=("mlflow", "notebook"),
        authorized_party="notebook",
        issuer="http://dex/dex",
        issued=NOW,
        not_before=NOW + timedelta(seconds=1),
        expires=NOW + timedelta(seconds=2.5),
        key_id="k1",
        complete=True,
    )


def test_a_tokens_single_audience_is_a_string() -> None:
    assert read_claims(token()).audience == ("mlflow",)


@pytest.mark.parametrize("name", ["iss", "sub", "aud", "exp", "email", "groups", "iat", "nbf", "email_verified", "azp"])
@pytest.mark.parametrize("value", [None, 10**30, -(10**30), {"a": 1}, [1, None], True, "", []])
def test_a_claim_that_is_absent_or_has_another_type_is_not_an_error(name: str, value: Any) -> None:
    read_claims(token(**{name: value}))


def test_claims_of_another_type_count_as_absent() -> None:
    claims = read_claims(token(iss=1, sub=True, aud=3, exp="soon", iat=True, email=[], email_verified="no", groups=5))
    assert claims == Claims(key_id="k1")
    assert read_claims(token(groups=["a", 1, None, "b"])).groups == ("a", "b")


def test_the_owner_is_the_email_address_or_else_the_subject() -> None:
    assert read_claims(token()).owner == "a@b.c"
    assert read_claims(token(email=None)).owner == "CiQw"


def test_a_token_without_an_email_address_has_a_warning_that_names_the_owner_of_runs() -> None:
    assert read_claims(token()).warning is None
    assert read_claims(token(email=None, sub="system:serviceaccount:team-a:default-editor")).warning is None
    without = read_claims(token(email=None)).warning
    assert without == (
        "The token has no e-mail address, so MLflow shows CiQw, the issuer's id for its user, as the owner of runs. "
        "Request the scope email."
    )
    assert "shows no owner of runs." in (Claims().warning or "")


def test_a_token_says_how_much_of_its_life_is_left() -> None:
    claims = Claims(issued=NOW, expires=NOW + timedelta(hours=4))
    assert claims.left(NOW + timedelta(hours=1)) == timedelta(hours=3)
    assert claims.left(NOW + timedelta(hours=5)) == timedelta(hours=-1)
    assert claims.age(NOW) == 0
    assert claims.age(NOW + timedelta(hours=1)) == 0.25
    assert claims.age(NOW + timedelta(hours=4)) == 1


@pytest.mark.parametrize(
    "claims", [Claims(expires=NOW), Claims(issued=NOW), Claims(issued=NOW, expires=NOW)], ids=["iat", "exp", "no-time"]
)
def test_without_a_beginning_an_end_and_time_between_there_is_no_age(claims: Claims) -> None:
    assert claims.age(NOW) is None


def test_a_token_without_an_end_does_not_say_what_is_left() -> None:
    assert Claims(issued=NOW).left(NOW) is None


ANSWER = {"access_token": token(), "token_type": "bearer", "expires_in": 86399, "id_token": token()}
encoded = base64.b64encode
TWICE = encoded(token().encode()).decode()
PROBLEMS: dict[str, tuple[str, TokenProblem]] = {
    "nothing": ("", TokenProblem.EMPTY),
    "blanks": (" \n", TokenProblem.EMPTY),
    "a newline at the end": (token() + "\n", TokenProblem.WHITE_SPACE),
    "a blank in front": (" " + token(), TokenProblem.WHITE_SPACE),
    "a line break inside": (token()[:40] + "\n" + token()[40:], TokenProblem.WHITE_SPACE),
    "quotation marks": (f'"{token()}"', TokenProblem.QUOTES),
    "a quotation mark in front": (f"'{token()}", TokenProblem.QUOTES),
    "a quotation mark at the end": (f"{token()}'", TokenProblem.QUOTES),
    "quotation marks and a newline": (f'"{token()}"\n', TokenProblem.QUOTES),
    "a prefix in quotation marks": (f'"Bearer {token()}"', TokenProblem.QUOTES),
    "a prefix with a tab": (f"Bearer\t{token()}", TokenProblem.BEARER_PREFIX),
    "a prefix and a newline": (f" Bearer {token()}\n", TokenProblem.BEARER_PREFIX),
    "a whole header": (f"Authorization: Bearer {token()}", TokenProblem.BEARER_PREFIX),
    "a mark of the byte order": (f"\ufeff{token()}", TokenProblem.WHITE_SPACE),
    "an invisible character": (f"{token()}\u200b", TokenProblem.WHITE_SPACE),
    "a null character": (f"{token()}\0", TokenProblem.WHITE_SPACE),
    "a page to sign in": ("<!DOCTYPE html>\n<html>Sign in</html>", TokenProblem.HTML),
    "a page after blank lines": ("\n\n<html>Sign in</html>", TokenProblem.HTML),
    "base64 of base64": (encoded(TWICE.encode()).decode(), TokenProblem.BASE64),
    "base64 of the answer": (encoded(json.dumps(ANSWER).encode()).decode(), TokenProblem.BASE64),
    "a prefix": (f"Bearer {token()}", TokenProblem.BEARER_PREFIX),
    "a prefix in lower case": (f"bearer {token()}", TokenProblem.BEARER_PREFIX),
    "the answer of the token endpoint": (json.dumps(ANSWER), TokenProblem.JSON),
    "the answer in lines": (json.dumps(ANSWER, indent=2) + "\n", TokenProblem.JSON),
    "a refusal of the token endpoint": ('{"error":"access_denied"}', TokenProblem.JSON),
    "the beginning of the answer": (json.dumps(ANSWER)[:-20], TokenProblem.JSON),
    "a list with the token": (json.dumps([token()]), TokenProblem.JSON),
    "a placeholder in angle brackets": ("<token>", TokenProblem.NOT_A_JWT),
    "a placeholder of a template": ("{{ .Values.token }}", TokenProblem.NOT_A_JWT),
    "an error message": ("curl: (7) Failed to connect\n", TokenProblem.NOT_A_JWT),
    "a line of YAML": (f"token: {token()}\n", TokenProblem.NOT_A_JWT),
    "base64 of a token": (TWICE, TokenProblem.BASE64),
    "base64 in lines": (base64.encodebytes(token().encode()).decode(), TokenProblem.BASE64),
    "base64 of a token with a newline": (encoded(token().encode() + b"\n").decode(), TokenProblem.BASE64),
    "base64 with another character in it": (f"{TWICE[:20]}!{TWICE[20:]}", TokenProblem.NOT_A_JWT),
    "base64 of a header alone": (encoded(part({"alg": "ES256"}).encode()).decode(), TokenProblem.NOT_A_JWT),
    "no signature and other characters": (f"{part({'alg': 'ES256'})}!!!!.{part({})}", TokenProblem.NOT_A_JWT),
    "text that is not valid Unicode": ("\ud800", TokenProblem.NOT_A_JWT),
    "an opaque token": ("sha256~opaque", TokenProblem.NOT_A_JWT),
    "an opaque token in base64": (encoded(b"opaque").decode(), TokenProblem.NOT_A_JWT),
    "an opaque token in base64 many times": (encoded(encoded(encoded(b"opaque"))).decode(), TokenProblem.NOT_A_JWT),
    "three parts that are no JSON": ("a.b.c", TokenProblem.NOT_A_JWT),
    "a header that is a list": (f"{part([1])}.{part({})}.{part(b'x')}", TokenProblem.NOT_A_JWT),
    "claims that are a list": (f"{part({'alg': 'ES256'})}.{part([1])}.{part(b'x')}", TokenProblem.NOT_A_JWT),
    "five parts": (token() + ".a.b", TokenProblem.NOT_A_JWT),
    "no signature, as with alg none": (f"{part({'alg': 'none'})}.{part({})}.", TokenProblem.NOT_A_JWT),
    "no algorithm": (f"{part({})}.{part({})}.", TokenProblem.NOT_A_JWT),
    "a character too many": (token() + "!", TokenProblem.NOT_A_JWT),
    "an asterisk inside": (token().replace(".", "*.", 1), TokenProblem.NOT_A_JWT),
    "padding": (token() + "=", TokenProblem.NOT_A_JWT),
    "characters of ordinary base64": (token()[:-2] + "+/", TokenProblem.NOT_A_JWT),
    "an end": (token(exp=SECONDS), TokenProblem.EXPIRED),
    "a later beginning": (token(nbf=SECONDS + 301), TokenProblem.NOT_YET_VALID),
    "another audience": (token(aud="other"), TokenProblem.OTHER_AUDIENCE),
    "no audience": (token(aud=None), TokenProblem.OTHER_AUDIENCE),
    "an address that is not verified": (token(email_verified=False), TokenProblem.EMAIL_NOT_VERIFIED),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_each_fault_of_a_token_has_its_problem(name: str) -> None:
    text, problem = PROBLEMS[name]
    assert problem_of(text, now=NOW, audience="mlflow") is problem


def test_every_problem_has_a_case_and_words_that_no_other_has() -> None:
    assert {problem for _, problem in PROBLEMS.values()} | {TokenProblem.TRUNCATED} == set(TokenProblem)
    assert len({problem.sentence for problem in TokenProblem}) == len(TokenProblem)


def test_nothing_is_wrong_with_a_good_token() -> None:
    assert problem_of(token(), now=NOW, audience="mlflow") is None
    assert problem_of(token(aud=["other", "mlflow"]), now=NOW, audience="mlflow") is None
    assert problem_of(token(aud=None, exp=None), now=NOW) is None


def test_a_token_that_really_was_signed_is_good() -> None:
    assert problem_of(jwt(), now=datetime.now(UTC), audience="mlflow") is None


def test_a_token_expires_in_the_very_second_it_says() -> None:
    assert problem_of(token(), now=NOW + timedelta(seconds=99)) is None
    assert problem_of(token(), now=NOW + timedelta(seconds=100)) is TokenProblem.EXPIRED


def test_a_token_may_begin_five_minutes_from_now() -> None:
    assert problem_of(token(nbf=SECONDS + 300), now=NOW) is None
    assert problem_of(token(nbf=SECONDS + 300), now=NOW - timedelta(seconds=1)) is TokenProblem.NOT_YET_VALID


def test_an_address_that_is_not_verified_may_be_allowed() -> None:
    text = token(email_verified=False)
    assert problem_of(text, now=NOW, allow_unverified_email=True) is None
    assert problem_of(text, now=NOW) is TokenProblem.EMAIL_NOT_VERIFIED


def test_white_space_around_a_token_does_not_hide_what_it_says() -> None:
    assert read_claims(f" {token()}\n").owner == "a@b.c"


@pytest.mark.parametrize("cut", [1, 2, 3, 20, 100, 171, 200, 341, 342, 343, 344, 400])
def test_a_token_that_was_cut_off_is_not_complete(cut: int) -> None:
    text = jwt()
    assert problem_of(text[:-cut], now=datetime.now(UTC)) is TokenProblem.TRUNCATED


@given(st.integers(1, 342))
def test_no_cut_into_the_signature_goes_unnoticed(cut: int) -> None:
    assert problem_of(SIGNED[:-cut], now=datetime.now(UTC)) is TokenProblem.TRUNCATED


SIGNED = jwt()


def test_a_token_that_is_not_complete_still_says_whose_it_is() -> None:
    claims = read_claims(jwt()[:-3])
    assert claims.owner == "alice@example.com"
    assert not claims.complete


@pytest.mark.parametrize("text", ["anything", "Xanything", "anythingX"])
def test_form_is_judged_without_decoding(text: str) -> None:
    assert form_problem(text) is None


def test_the_error_has_the_problems_words() -> None:
    with pytest.raises(NotATokenError) as caught:
        read_claims("sha256~opaque")
    assert str(caught.value) == TokenProblem.NOT_A_JWT.sentence


@given(st.text() | st.builds(lambda a, b: f"{a}.{b}.x", st.text(), st.text()))
def test_no_text_raises_anything_else_and_none_is_repeated(text: str) -> None:
    said = ""
    try:
        read_claims(text)
    except NotATokenError as error:
        said = str(error)
    assert len(text) < 8 or text not in said
