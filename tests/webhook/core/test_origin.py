"""Which spellings name the same server. A token goes where this says "the same", so a look-alike must never do so."""

from __future__ import annotations

import pytest

from webhook.core.configuration import origin, parse_tracking_uri

SERVER = "http://mlflow.kubeflow:5000"


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


@pytest.mark.parametrize(
    "uri",
    [
        "https://mlflow.kubeflow:5000",
        "http://mlflow.kubeflow",
        "http://mlflow.kubeflow:50000",
        "http://mlflow.kubeflow:500",
        "http://mlflow.kubeflow:65536",
        "http://mlflow.kubeflow:70536",
        "http://mlflow.kubeflow:5000.other.example",
        "http://mlflow.kubeflow.other.example:5000",
        "http://other.mlflow.kubeflow:5000",
        "http://mlflow.kubeflow..:5000",
        "http://mlflow..kubeflow:5000",
        "http://mlflow.kubeflow:5000@other.example",
        "http://mlflow.kubeflow:5000:x@other.example",
        "http://user@mlflow.kubeflow:5000",
        "http://user:password@mlflow.kubeflow:5000",
        "http://@mlflow.kubeflow:5000",
        r"http://mlflow.kubeflow:5000\@other.example",
        r"http://other.example\@mlflow.kubeflow:5000",
        r"http://other.example\mlflow.kubeflow:5000",
        r"http:\\mlflow.kubeflow:5000",
        r"http://mlflow.kubeflow:5000/\other.example",
        "http://mlflow。kubeflow:5000",
        "http://mlflow．kubeflow:5000",
        "http://mlflow.kubeﬂow:5000",
        "http://mlﬂow.kubeflow:5000",
        "http://mlflow.\u212aubeflow:5000",
        "http://mlfl\u043ew.kubeflow:5000",
        "http://mlflow.kubeflow:\u0665000",
        "http://mlflow%2ekubeflow:5000",
        "http://mlflow.kubeflow%3a5000",
        "http://mlflow.kubeflow%00:5000",
        "http://mlflow.kubeflow:5000\n",
        "http://mlflow.kubeflow:5000\n.other.example",
        "http://mlflow\t.kubeflow:5000",
        " http://mlflow.kubeflow:5000",
        "http://mlflow.kubeflow:5000 ",
        "http://mlflow.kubeflow :5000",
        "http://mlflow.kubeflow:+5000",
        "http://mlflow.kubeflow:-5000",
        "http://[mlflow.kubeflow]:5000",
        "http://[::ffff:127.0.0.1]:5000",
        "http:/mlflow.kubeflow:5000",
        "http:mlflow.kubeflow:5000",
        "http:///mlflow.kubeflow:5000",
        "//mlflow.kubeflow:5000",
        "mlflow.kubeflow:5000",
        "ftp://mlflow.kubeflow:5000",
        "http+unix://mlflow.kubeflow:5000",
        "javascript:http://mlflow.kubeflow:5000",
        "http://mlflow.kubeflow:5000/$(PATH)",
        "http://$(HOST):5000",
        "databricks",
        "sqlite:///mlflow.db",
        "http://.",
        "http://",
        "",
    ],
)
def test_a_look_alike_is_another_server_or_none(uri: str) -> None:
    assert origin(uri) != origin(SERVER)


@pytest.mark.parametrize(
    "uri", ["http://::1", "http://[fe80::1%25eth0]:5000", "http://[v1.x]", "http://[::1", "http://::1]"]
)
def test_what_is_not_plainly_a_host_is_no_server(uri: str) -> None:
    assert origin(uri) is None
    with pytest.raises(ValueError, match="an http:// or https:// URL"):
        parse_tracking_uri(uri)


@pytest.mark.timeout(5)
@pytest.mark.parametrize("piece", [".", "a.", "[:", ":", "/", "@", "-_", "http://"])
def test_no_uri_takes_long_to_read(piece: str) -> None:
    origin("http://" + piece * (1_000_000 // len(piece)))
