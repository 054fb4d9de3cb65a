"""JSON and YAML, as kubectl reads them, and YAML that kubectl reads back."""

from __future__ import annotations

import json
from typing import Any

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from webhook.files import events
from webhook.files.events import DEEPEST, FormatError
from webhook.files.formats import find_documents, read_documents, read_scalars_as_text
from webhook.files.writing import dump_yaml

WORDS: dict[str, Any] = {
    **dict.fromkeys(["y", "Yes", "on", "TRUE"], True),
    **dict.fromkeys(["N", "no", "Off", "false"], False),
    **dict.fromkeys(["~", "null"]),
    **dict.fromkeys(["0644", "0o644", "420", "0x1A4", "0X1a4", "4_20", "+420"], 420),
    **dict.fromkeys(["1e3", "1000", "1.0e+3"], 1000),
    **dict.fromkeys(["8", "08"], 8),
    **dict.fromkeys([".5", "+.5", "5e-1", ".5_0"], 0.5),
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
            ".5_",
            ".",
            "+",
            "yES",
        )
    },
}
"""How kubectl 1.32 reads plain words (``kubectl annotate --local -f FILE x=y -o json``)."""
READ: dict[str, list[Any]] = {
    "a: Never\t\nb:\tc\t# d": [{"a": "Never", "b": "c"}],
    "a: b\tc": [{"a": "b\tc"}],
    "a: b\n  \t\n  c\n  \td": [{"a": "b\nc d"}],
    "a: [\n\t1,\n\t2\n]": [{"a": [1, 2]}],
    "a: |\n  sleep 10": [{"a": "sleep 10\n"}],
    "a: >\n  sleep\n  10": [{"a": "sleep 10\n"}],
    "a: |-\n  sleep 10": [{"a": "sleep 10"}],
    "a: b\r\nc: |\r\n  d\r\n  e\r\n": [{"a": "b", "c": "d\ne\n"}],
    '{"a": 1,}': [{"a": 1}],
    '{\n\t"a": 1, # one\n}': [{"a": 1}],
    '{"a": 1}\n{"a": 2,}': [{"a": 1}, {"a": 2}],
    '{"a": "\\ud83d\\ude00"}\n---\nb: c': [{"a": "\U0001f600"}, {"b": "c"}],
    '{"a": 1}{"a": 2}\n---\n{"a": 3}': [{"a": 1}, {"a": 2}, {"a": 3}],
    "---\n# nothing\n--- # next\na: b\n---\n": [{"a": "b"}],
    "a: b\n...\nc: d\n---\ne: f": [{"a": "b"}, {"e": "f"}],
    "a: 1\na: 2": [{"a": 2}],
    "a: 1\n<<: {a: 2, b: 2}\nb: 3": [{"a": 2, "b": 3}],
    "<<: [{a: 1, b: 1}, {a: 2, c: 2}]": [{"a": 1, "b": 1, "c": 2}],
    '"<<": {a: 1}': [{"<<": {"a": 1}}],
    "a: &a {b: [c]}\nd: *a\ne: [*a]": [{"a": {"b": ["c"]}, "d": {"b": ["c"]}, "e": [{"b": ["c"]}]}],
    "&k a: 1\nb: *k": [{"a": 1, "b": "a"}],
    "a: !foo 5\nb: !bar {c: !!str 5}\nd: !!int '5'": [{"a": "5", "b": {"c": "5"}, "d": 5}],
    "a: !!bool 'yes'\nb: !!timestamp 2001-01-01\nc: !!set {d: null}": [
        {"a": True, "b": "2001-01-01", "c": {"d": None}}
    ],
    "a: !!binary aGVsbG8=": [{"a": "hello"}],
    "a: !!binary |\n  aGVs\n  bG8=\n": [{"a": "hello"}],
    "{a:1}": [{"a:1": None}],
    "a: 'x'# y": [{"a": "x"}],
    "- a\n- b": [["a", "b"]],
    "# nothing": [],
    "": [],
}
"""What kubectl reads (apimachinery 0.36, ``NewYAMLOrJSONDecoder``)."""
REFUSED = {
    "a: [": "not YAML at line 1",
    "a: b\n---\n\n\nc: d: e": "not YAML at line 5",
    "a: b\n--- {c: d}": "not YAML at line 2: only a comment may follow the separator ---, not {c: d}",
    "\ta: b": "not YAML at line 1: ",
    "a: !!int x": "x is not a valid !!int (line 1)",
    "a: !!binary x": "invalid !!binary",
    "a: !!binary '****'": "invalid !!binary",
    "{~: b}": "null cannot be a key (line 1)",
    "{[a]: b}": "a mapping or a list cannot be a key (line 1)",
    "<<: 5": "<< needs a mapping or a list of mappings (line 1)",
    "a: *b": "unknown anchor b (line 1)",
    "a: " + "[" * 100_000: "nested too deeply",
    "[" * 100_000: "nested too deeply",
    "- " * 100_000: "nested too deeply",
    "{" * 100_000: "nested too deeply",
    "? " * 100_000: "nested too deeply",
    '{"a":' * 100_000: "nested too deeply",
    '{"a":' + "[" * 300 + "]" * 300 + "}": "nested too deeply",
    "a: &a [*a]": "the anchor a contains itself (line 1)",
    '{"a": ' + "1" * 9000 + "}": "a number has too many digits",
    "b0: &b0 [x, x]\n"
    + "".join(f"b{n}: &b{n} [{', '.join([f'*b{n - 1}'] * 9)}]\n" for n in range(1, 12)): "aliases expand to more than",
    "a: b\nspec:\n  c: [{d: .inf}]": r"spec.c[0].d is .inf, which JSON cannot represent (line 3)",
    "a:\n- {}\n- b.c: -.Inf": "a[1][b.c] is -.Inf, which JSON cannot represent (line 3)",
    ".nan": "nan is .nan, which JSON cannot represent (line 1)",
    '{"a": [{"b": NaN}]}': "a[0].b is NaN, which JSON cannot represent",
    '{"a": -Infinity}': "a is -Infinity, which",
    '{"a": 1e999}': "a is Infinity, which",
    '{"a": {"b": "\\ud800"}}': "a.b has an unpaired surrogate",
    "a: b\nkind: \x00": "not YAML at line 2: unacceptable character #x0000",
}


@pytest.fixture(params=["libyaml", "python"])
def parser(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """PyYAML's wheels have libyaml; without it everything is read the same, but slower."""
    if request.param == "python":
        monkeypatch.setattr(events, "LIBYAML", None)
    elif events.LIBYAML is None:
        pytest.skip("PyYAML is installed without libyaml")


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("word", WORDS)
def test_plain_words_have_the_types_that_kubectl_reads(word: str) -> None:
    (document,) = read_documents(f"a: {word}")
    assert document["a"] == WORDS[word]
    assert type(document["a"]) is type(WORDS[word])


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("text", READ)
def test_documents_are_read_as_kubectl_reads_them(text: str) -> None:
    assert read_documents(text) == READ[text]


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:20])
def test_invalid_text_is_reported_with_its_place(text: str) -> None:
    with pytest.raises(FormatError) as refused:
        read_documents(text)
    assert REFUSED[text] in str(refused.value)


TEXT = (
    st.text(
        alphabet="0123456789abcdefxXoObByYnNeE_+-.:~=<#&*!|>%@`'\"{}[], \n\t\\ä\x85\xa0\u2028\ufeff\r\U0001f600",
        max_size=8,
    )
    | st.sampled_from(sorted(WORDS))
    | st.text(alphabet=st.characters(exclude_categories=["Cs"]), max_size=8)
)
INTEGER = st.integers(-(2**63), 2**64 - 1)
"""Kubernetes has no larger ones; kubectl makes floating-point numbers of them, Python's JSON does not."""
VALUE = st.recursive(
    st.none() | st.booleans() | INTEGER | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)


@pytest.mark.parametrize("libyaml", [True, False], ids=["libyaml", "python"])
def test_what_is_written_is_read_back_as_the_same(libyaml: bool) -> None:
    @given(st.dictionaries(TEXT, VALUE, max_size=3))
    @example(
        {"\x85": ["a\u2028\n\ufeff", "\n", " a\n", "a\n\n", "\ta\nb", "a\n  "], "k" * 2000: {"b\n": [5e-324, 1e16]}}
    )
    def check(document: dict[str, Any]) -> None:
        text = dump_yaml(document)
        assert read_documents(text) == [document]
        assert yaml.safe_load(text) == document

    with pytest.MonkeyPatch.context() as patched:
        if not libyaml:
            patched.setattr(events, "LIBYAML", None)
        check()


@given(st.lists(VALUE, min_size=1, max_size=3))
def test_json_is_read_as_json(values: list[Any]) -> None:
    documents = [{"a": value} for value in values]
    assert read_documents("\n".join(map(json.dumps, documents))) == documents


@pytest.mark.parametrize("text", ["metadata.annotations['a.b/c']", "f(x) [y], {z}", "really?", "a]"])
def test_brackets_and_commas_inside_a_text_need_no_quotation_marks(text: str) -> None:
    assert dump_yaml({"fieldPath": text}) == f"fieldPath: {text}\n"


def test_the_deepest_document_that_is_read_can_be_written() -> None:
    document: Any = "x"
    for _ in range((DEEPEST - 1) // 2):
        document = {"a": [document]}
    (read,) = read_documents(json.dumps({"a": document}))
    assert read_documents(dump_yaml(read)) == [read]


@pytest.mark.usefixtures("parser")
def test_keys_are_the_strings_that_they_are_in_json() -> None:
    assert read_documents("{1: a, true: b, 1.5: c, x: {<<: {d: e}}}") == [
        {"1": "a", "true": "b", "1.5": "c", "x": {"d": "e"}}
    ]


@given(
    st.lists(
        st.sampled_from(["a: b\n", "# c\n", "- a", "{a: [b]}\n", "---\n", "--- # x\n", "\n", "|\n  x"]), max_size=8
    )
)
def test_each_document_has_its_place_in_the_text(parts: list[str]) -> None:
    text = "".join(parts)
    try:
        documents = find_documents(text)
    except FormatError:
        return
    for document in documents:
        assert read_documents(text[document.start : document.end]) == [document.value][: document.value is not None]


@pytest.mark.usefixtures("parser")
def test_scalars_may_be_read_as_the_text_that_they_are() -> None:
    text = "a: 1.10\nb: yes\nc: [0777, ~]\nd:"
    assert read_scalars_as_text(text) == {"a": "1.10", "b": "yes", "c": ["0777", "~"], "d": ""}
    assert read_scalars_as_text(f"# x\n---\n{text}\n...\n") == read_scalars_as_text(text)
    assert read_scalars_as_text("") is None


@pytest.mark.usefixtures("parser")
@pytest.mark.parametrize("text", ["a: 1\na: 2", "b: {a: 1, a: 2}", "? [x]\n: y", "a: [", "a: 1\n---\nb: 2"])
def test_where_scalars_are_text_a_key_is_there_once(text: str) -> None:
    with pytest.raises(FormatError, match=r"line|more than one"):
        read_scalars_as_text(text)
