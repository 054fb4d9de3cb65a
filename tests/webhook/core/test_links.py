from __future__ import annotations

import pytest

from webhook.core.links import fill_link, parse_link


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://h/{b}",
        "http://h:8080/{a}/{b}?c={a}#/{b}",
        "https://{a}.example.com/{b}",
        "https://h:1/{b}",
        "https://h/%20/{b}",
    ],
)
def test_a_template_names_known_placeholders_only_and_those_that_it_has_to(text: str) -> None:
    assert parse_link(text, known=("a", "b"), required=("b",)) == text


@pytest.mark.parametrize(
    "text",
    [
        "https://h/",
        "https://h/{a}",
        "https://h/{b}/{c}",
        "https://h/{b}/{}",
        "https://h/{b",
        "https://h/{b}{",
        "https://h/b}{b}",
        "https://h/{{b}}",
        "https://h/{b!r}",
        "https://h/{ b}",
        "h/{b}",
        "//h/{b}",
        "ftp://h/{b}",
        "javascript:alert({b})",
        "https:///{b}",
        "https://me:secret@h/{b}",
        "https://h:port/{b}",
        "https://h:99999/{b}",
        "https://h:0/{b}",
        "https://h/ {b}",
        "https://h/{b}\n",
        "https://größe/{b}",
        "https://[h/{b}",
    ],
)
def test_anything_else_is_refused_with_what_is_expected(text: str) -> None:
    with pytest.raises(ValueError, match=r"^an http:// or https:// URL .* \{a\} \(optional\), \{b\}; or nothing$"):
        parse_link(text, known=("a", "b"), required=("b",))


def test_values_are_percent_encoded_and_are_no_templates() -> None:
    assert fill_link("https://h/{a}/{b}", a="{b}/ü", b="x&y=1") == "https://h/%7Bb%7D%2F%C3%BC/x%26y%3D1"
    assert fill_link("https://h/{a}/{b}", a="1") == "https://h/1/{b}"
    assert fill_link("", a="1") == ""
