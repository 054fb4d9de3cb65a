"""Reads JSON and YAML as kubectl does, and writes YAML: the same words are numbers, and all is what JSON can hold.

What kubectl takes a plain word for was observed with kubectl 1.32 (``annotate --local -o json``): ``y`` and ``off`` are
booleans, ``0o644`` and ``0644`` are octal, ``1e3`` is a number; ``10:30`` and ``2026-01-01`` are text.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Mapping
from math import isfinite
from typing import Any

import yaml

_TAG = "tag:yaml.org,2002:"
_INTEGER = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[bB][01]+|0[oO][0-7]+|0[0-7]*|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, bool | float | None] = {
    **dict.fromkeys(["", "~", "null", "Null", "NULL"]),
    **dict.fromkeys([f(word) for word in ("y", "yes", "true", "on") for f in (str.lower, str.title, str.upper)], True),
    **dict.fromkeys(
        [f(word) for word in ("n", "no", "false", "off") for f in (str.lower, str.title, str.upper)], False
    ),
    **dict.fromkeys([".nan", ".NaN", ".NAN"], float("nan")),
    **dict.fromkeys([sign + word for word in (".inf", ".Inf", ".INF") for sign in ("", "+")], float("inf")),
    **dict.fromkeys(["-.inf", "-.Inf", "-.INF"], float("-inf")),
}
_FOLDED = re.compile("[\\x85\\u2028\\u2029\\ufeff]")
_LIKE_JSON = re.compile(r"\s*\{\s*(\"|$)")
_BETWEEN = re.compile(r"\s*(?:---(?:\s+|$))?")
_MOST = 10_000_000
"""Values that a document may have once its aliases are written out; a few lines of them can stand for billions."""


class FormatError(Exception):
    """A text is neither JSON nor YAML, or holds what JSON cannot; the message says where and why."""


def read_documents(text: str) -> list[Any]:
    """Read documents of JSON, one after another, or of YAML, as JSON would give them.

    Nothing in them is shared, and every key is a string. Raises FormatError.
    """
    return _read_json(text) if text.lstrip().startswith("{") else _read_yaml(text)


def read_scalars_as_text(text: str) -> Any:
    """Read one document whose values all stay the text that they are; a key may be there once. Raises FormatError."""
    try:
        return yaml.load(text, Loader=_TextLoader)  # noqa: S506 - it makes nothing but text
    except yaml.YAMLError as error:
        raise FormatError(f"not YAML{_place(error)}") from None
    except RecursionError:
        raise FormatError("it is nested too deeply") from None


def dump_yaml(document: Mapping[str, Any]) -> str:
    """Write a document as YAML that kubectl reads back as the same."""
    return yaml.dump(dict(document), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=1_000_000)


def _read_json(text: str) -> list[Any]:
    documents, decoder, at = [], json.JSONDecoder(), text.index("{")
    try:
        while at < len(text):
            document, end = decoder.raw_decode(text, at)
            documents.append(_plain(document))
            at = _end_of_separator(text, end)
    except json.JSONDecodeError as error:
        try:
            return _read_yaml(text)
        except FormatError as as_yaml:
            if not _LIKE_JSON.match(text):
                raise as_yaml from None
            raise FormatError(f"not JSON at line {error.lineno}, column {error.colno}: {error.msg}") from None
    except (ValueError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else f"not JSON: {error}"
        raise FormatError(why) from None
    return documents


def _end_of_separator(text: str, at: int) -> int:
    separator = _BETWEEN.match(text, at)
    return separator.end() if separator else at


def _read_yaml(text: str) -> list[Any]:
    try:
        documents = [document for document in yaml.load_all(text, Loader=_Loader) if document is not None]
    except yaml.YAMLError as error:
        raise FormatError(f"not YAML{_place(error)}") from None
    except ValueError as error:
        raise FormatError(f"not YAML: {error}") from None
    except RecursionError:
        raise FormatError("it is nested too deeply") from None
    return [_plain(document) for document in documents]


def _plain(document: Any) -> Any:
    try:
        if _size(document, {}) > _MOST:
            raise FormatError(f"its aliases stand for more than {_MOST} values")
        return json.loads(json.dumps(document, ensure_ascii=False).encode())
    except (TypeError, ValueError) as error:
        raise FormatError(f"it holds what JSON cannot: {error}") from None
    except RecursionError:
        raise FormatError("it is nested too deeply") from None


def _place(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    if mark is None:
        return f": {' '.join(str(error).split())}"  # a character that YAML does not allow; it says which and where
    return f" at line {mark.line + 1}: {getattr(error, 'problem', None) or 'unreadable'}"


def _size(value: Any, known: dict[int, int]) -> int:
    if not isinstance(value, (dict, list)):
        return 1
    if id(value) not in known:
        known[id(value)] = 0  # should it hold itself
        known[id(value)] = 1 + sum(
            _size(item, known) for item in (value.values() if isinstance(value, dict) else value)
        )
    return known[id(value)]


def _tag_of(text: str) -> str:
    """Say what kubectl takes a plain word for, as a tag."""
    if text == "<<":
        return f"{_TAG}merge"
    if text in _WORDS:
        word = _WORDS[text]
        return _TAG + ("null" if word is None else "bool" if isinstance(word, bool) else "float")
    digits = text.replace("_", "") if text[0] in "+-0123456789" else text
    if _INTEGER.fullmatch(digits):
        return f"{_TAG}int"
    return f"{_TAG}float" if _FLOAT.fullmatch(digits) and isfinite(float(digits)) else f"{_TAG}str"


def _number(text: str) -> float:
    digits = text.replace("_", "")
    if octal := re.fullmatch(r"([-+]?)0([0-7]+)", digits):
        return int(octal[1] + octal[2], 8)
    if _INTEGER.fullmatch(digits):
        return int(digits, 0)
    number = float(digits)
    return int(number) if number.is_integer() and abs(number) < 2**53 else number


class _Loader(yaml.SafeLoader):
    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and implicit[0]:
            return _tag_of(value)
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Name keys as JSON does while they are read: to Python, 1 and true are the same key."""
        self.flatten_mapping(node)
        mapping = {}
        for key_node, value_node in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, (dict, list)):
                problem = "a mapping or a list cannot be a key"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=key_node.start_mark)
            mapping[key if isinstance(key, str) else json.dumps(key)] = self.construct_object(value_node, deep=deep)
        return mapping


def _scalar(_: _Loader, node: yaml.ScalarNode) -> bool | float | None:
    return _WORDS[node.value] if node.value in _WORDS else _number(node.value)


def _text(_: _Loader, node: yaml.ScalarNode) -> str:
    return str(node.value)


def _binary(_: _Loader, node: yaml.ScalarNode) -> str:
    return b64decode(node.value).decode()


for _kind in ("bool", "int", "float", "null"):
    _Loader.add_constructor(_TAG + _kind, _scalar)
for _kind in ("merge", "timestamp"):
    _Loader.add_constructor(_TAG + _kind, _text)
_Loader.add_constructor(f"{_TAG}binary", _binary)


class _TextLoader(yaml.BaseLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key in [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]:
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    problem=f"{key.value} is there twice", problem_mark=key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


class _Dumper(yaml.SafeDumper):
    """Puts strings into quotes that kubectl, or YAML 1.1, takes for something else, and long text into blocks."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - as its base class
        return True

    def resolve(self, kind: Any, value: Any, implicit: Any) -> Any:
        if kind is yaml.ScalarNode and implicit[0] and _tag_of(value) != f"{_TAG}str":
            return _tag_of(value)
        return super().resolve(kind, value, implicit)  # type: ignore[no-untyped-call]


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    # YAML takes these for line ends (for a mark of the byte order, the last) and folds them: they have to be escaped
    style = '"' if _FOLDED.search(text) else "|" if "\n" in text else None
    return dumper.represent_scalar(f"{_TAG}str", text, style=style)


_Dumper.add_representer(str, _represent_text)
