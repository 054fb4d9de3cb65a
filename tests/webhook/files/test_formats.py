from __future__ import annotations

from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from webhook.files.formats import FormatError, dump_yaml, read_documents, read_scalars_as_text

WORDS: dict[str, Any] = {
    **dict.fromkeys(["y", "Yes", "on", "TRUE"], True),
    **dict.fromkeys(["N", "no", "Off", "false"], False),
    **dict.fromkeys(["~", "null"]),
    **dict.fromkeys(["0644", "0o644", "420", "0x1A4", "0X1a4", "4_20", "+420"], 420),
    **dict.fromkeys(["1e3", "1000", "1.0e+3"], 1000),
    **dict.fromkeys(["8", "08"], 8),
    **dict.fromkeys([".5", "+.5", "5e-1"], 0.5),
    **{
        text: text
        for text in (
            "8080:22",
            "1:30:00",
            "2026-01-01",
            "=",
            "<<",
            "_1",
            "0x",
            "0o",
            "1e",
            "1e400",
            "._5",
            ".",
            "+",
            "yES",
        )
    },
}
"""What kubectl 1.32 takes plain words for (``kubectl annotate --local -f FILE x=y -o json``)."""


@pytest.mark.parametrize("word", WORDS)
def test_plain_words_are_what_kubectl_takes_them_for(word: str) -> None:
    (document,) = read_documents(f"a: {word}")
    assert document["a"] == WORDS[word]
    assert type(document["a"]) is type(WORDS[word])


@given(
    st.text(
        alphabet="0123456789abcdefxXoObByYnNeE_+-.:~=<#&*!|>%@`'\"{}[], \n\t\\ä\x85\u2028\ufeff\r\U0001f600", max_size=8
    )
    | st.sampled_from(sorted(WORDS))
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
)
@example("\x85")
@example("a\u2028\n\ufeff")
def test_text_is_read_back_as_the_same_text(text: str) -> None:
    document = {"a": text, text: [text]}
    assert read_documents(dump_yaml(document)) == [document]
    assert yaml.safe_load(dump_yaml(document)) == document


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False), st.lists, max_leaves=5))
def test_values_are_read_back_as_the_same_values(value: Any) -> None:
    assert read_documents(dump_yaml({"a": value})) == [{"a": value}]


def test_keys_are_the_strings_that_they_are_in_json() -> None:
    assert read_documents("{1: a, true: b, ~: c, x: {<<: {d: e}}}") == [
        {"1": "a", "true": "b", "null": "c", "x": {"d": "e"}}
    ]


def test_binary_is_the_text_in_it() -> None:
    assert read_documents("a: !!binary aGVsbG8=") == [{"a": "hello"}]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("a: [", "not YAML at line 1"),
        ("a: !foo x", "not YAML at line 1: could not determine a constructor for the tag '!foo'"),
        ("a: !!int x", "not YAML: "),
        ("{[a]: b}", "line 1: a mapping or a list cannot be a key"),
        ("a: !!binary x", "not YAML: "),
        ("a: " + "[" * 9000, "nested too deeply"),
        ("a: &a [*a]", "what JSON cannot"),
        ("a: 0x" + "f" * 9000, "what JSON cannot"),
        (
            "b0: &b0 [x, x]\n" + "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 12)),
            "aliases stand for more than",
        ),
    ],
)
def test_what_cannot_be_read_is_said(text: str, sentence: str) -> None:
    with pytest.raises(FormatError, match=sentence):
        read_documents(text)


def test_scalars_may_be_read_as_the_text_that_they_are() -> None:
    text = "a: 1.10\nb: yes\nc: [0777, ~]\nd:"
    assert read_scalars_as_text(text) == {"a": "1.10", "b": "yes", "c": ["0777", "~"], "d": ""}


@pytest.mark.parametrize("text", ["a: 1\na: 2", "b: {a: 1, a: 2}", "? [x]\n: y", "a: ["])
def test_where_scalars_are_text_a_key_is_there_once(text: str) -> None:
    with pytest.raises(FormatError, match="line"):
        read_scalars_as_text(text)
