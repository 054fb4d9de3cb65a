"""The problems that the token itself shows: a closed set of codes with their sentences."""

from __future__ import annotations

from enum import StrEnum


class TokenProblem(StrEnum):
    """Why a token will be refused. The codes are stable names."""

    EMPTY = "empty"
    WHITE_SPACE = "white_space"
    QUOTES = "quotes"
    BEARER_PREFIX = "bearer_prefix"
    JSON = "json"
    HTML = "html"
    BASE64 = "base64"
    NOT_A_JWT = "not_a_jwt"
    TRUNCATED = "truncated"
    EXPIRED = "expired"
    NOT_YET_VALID = "not_yet_valid"
    OTHER_AUDIENCE = "other_audience"
    EMAIL_NOT_VERIFIED = "email_not_verified"

    @property
    def sentence(self) -> str:
        """Return the problem as a sentence."""
        return _SENTENCES[self]


_SENTENCES = {
    TokenProblem.EMPTY: "The token is empty.",
    TokenProblem.WHITE_SPACE: (
        "The token contains white space or an invisible character, often a newline at its end: MLflow's client cannot "
        "send it. Write it without one (printf '%s', not echo)."
    ),
    TokenProblem.QUOTES: (
        "The token is in quotation marks. Remove them (jq -j prints no quotation marks and no newline)."
    ),
    TokenProblem.BEARER_PREFIX: 'The word "Bearer" is in front of the token; the client adds that word itself.',
    TokenProblem.JSON: (
        "This is a JSON document, such as the whole answer of a token endpoint. The token is the value of id_token in "
        "it (jq -j .id_token)."
    ),
    TokenProblem.HTML: (
        "This is an HTML page, such as a sign-in page. Something other than the token endpoint answered."
    ),
    TokenProblem.BASE64: (
        "The token was base64-encoded twice. Values under data in a Secret are encoded once, and kubectl create secret "
        "already encodes them."
    ),
    TokenProblem.NOT_A_JWT: "This is not a JSON web token, which is three base64url parts separated by dots.",
    TokenProblem.TRUNCATED: (
        "The token is not complete: the length of its signature, the last part, does not fit its algorithm. "
        "It was probably cut off when it was copied."
    ),
    TokenProblem.EXPIRED: "The token has expired.",
    TokenProblem.NOT_YET_VALID: "The token is not valid yet: its claim nbf is in the future.",
    TokenProblem.OTHER_AUDIENCE: "The token was issued for another audience than the expected one.",
    TokenProblem.EMAIL_NOT_VERIFIED: "The token says email_verified: false, which oauth2-proxy refuses by default.",
}
