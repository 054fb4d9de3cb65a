"""Which URLs name the same server. The token is sent to such a URL, so a similar one must never count."""

from __future__ import annotations

from urllib.parse import urlsplit

import httpx
import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import security_examples
from tests.support.servers import OTHERS, SERVER
from webhook.core.values import hide_password, origin, parse_tracking_uri


@pytest.mark.parametrize(
    "uri",
    [
        "http://mlflow.kubeflow:5000/",
        "http://mlflow.kubeflow:5000/path?query#fragment",
        "HTTP://MLflow.KubeFlow:5000",
        "http://mlflow.kubeflow.:5000",
        "http://mlflow.kubeflow:05000",
        "http://mlflow.kubeflow:5000/@other.example",
        "http://mlflow.kubeflow:5000?@other.example",
        "http://mlflow.kubeflow:5000#@other.example",
    ],
)
def test_another_spelling_of_the_same_server_is_the_same(uri: str) -> None:
    assert origin(uri) == origin(SERVER) == ("http", "mlflow.kubeflow", 5000)


@pytest.mark.parametrize(
    ("uri", "server"),
    [
        ("http://host", ("http", "host", 80)),
        ("http://host:", ("http", "host", 80)),
        ("http://host:0", ("http", "host", 0)),
        ("https://host", ("https", "host", 443)),
        ("https://host:80", ("https", "host", 80)),
        ("http://[::1]:5000", ("http", "[::1]", 5000)),
        ("http://[FE80::1]", ("http", "[fe80::1]", 80)),
        ("http://xn--mlflw-jua.kubeflow", ("http", "xn--mlflw-jua.kubeflow", 80)),
        ("http://my_host", ("http", "my_host", 80)),
    ],
)
def test_a_server_is_a_scheme_a_host_and_a_port(uri: str, server: tuple[str, str, int]) -> None:
    assert origin(uri) == server


@pytest.mark.parametrize("uri", [*OTHERS, ""])
def test_a_similar_url_is_another_server_or_none(uri: str) -> None:
    assert origin(uri) != origin(SERVER)


@pytest.mark.parametrize(
    "uri", ["http://::1", "http://[fe80::1%25eth0]:5000", "http://[v1.x]", "http://[::1", "http://::1]"]
)
def test_a_host_that_clients_may_read_differently_is_not_a_server(uri: str) -> None:
    assert origin(uri) is None
    with pytest.raises(ValueError, match="an http:// or https:// URL"):
        parse_tracking_uri(uri)


@pytest.mark.parametrize("uri", ["http://h", "https://h:5000/", "http://h/PREFIX/X", "http://x.example/%20"])
def test_a_tracking_uri_is_taken_as_it_is_written(uri: str) -> None:
    assert parse_tracking_uri(uri) == uri


@pytest.mark.parametrize("uri", ["http://h?a", "http://h/#a", "http://h/$a", "http://me:secret@h", "h:5000", ""])
def test_a_tracking_uri_has_no_query_fragment_variable_or_credentials(uri: str) -> None:
    with pytest.raises(ValueError, match="an http:// or https:// URL"):
        parse_tracking_uri(uri)


def test_a_password_in_a_url_is_not_shown() -> None:
    text = 'trackingUri: "https://me:secret@host/a@b" and http://me@other:5000?x=1@2'
    assert hide_password(text) == (
        'trackingUri: "https://(not shown)@host/a@b" and http://(not shown)@other:5000?x=1@2'
    )


@pytest.mark.timeout(60)
@pytest.mark.parametrize("piece", [".", "a.", "[:", ":", "/", "@", "-_", "http://"])
def test_no_uri_takes_long_to_read(piece: str) -> None:
    origin("http://" + piece * (4_000_000 // len(piece)))


_SIGNS = [
    "http",
    "https",
    "://",
    ":",
    "/",
    "//",
    "@",
    "?",
    "#",
    "\\",
    ".",
    "[",
    "]",
    "%2e",
    "%00",
    "\t",
    "\n",
    " ",
    "。",
    "ſ",
]
_WORDS = ["mlflow", "kubeflow", "mlflow.kubeflow", "5000", ":5000", ":80", ":443", "user:x@", "other.example", SERVER]
_PARTS = st.sampled_from(_SIGNS + _WORDS)


@st.composite
def spellings(draw: st.DrawFn) -> str:
    """Draw the server with something put in, taken out or written otherwise, once or several times."""
    text = draw(st.sampled_from([SERVER, SERVER, "".join(draw(st.lists(_PARTS, max_size=6)))]))
    for _ in range(draw(st.integers(0, 3))):
        place = draw(st.integers(0, len(text)))
        taken = draw(st.sampled_from([0, 0, 1, 5]))
        text = text[:place] + draw(_PARTS | st.text(max_size=1)) + text[place + taken :]
    return draw(st.sampled_from([text, text.upper()]))


@settings(max_examples=security_examples(3))
@given(spellings())
def test_a_uri_that_counts_as_the_server_is_that_server_for_every_client(uri: str) -> None:
    if origin(uri) != origin(SERVER):
        return
    standard = urlsplit(uri)
    assert (standard.scheme, (standard.hostname or "").rstrip("."), standard.port) == ("http", "mlflow.kubeflow", 5000)
    assert standard.username is None
    prepared = urlsplit(str(requests.Request("GET", uri).prepare().url))
    assert (prepared.scheme, (prepared.hostname or "").rstrip("."), prepared.port) == ("http", "mlflow.kubeflow", 5000)
    other = httpx.URL(uri)
    assert (other.scheme, other.host.rstrip("."), other.port) == ("http", "mlflow.kubeflow", 5000)
