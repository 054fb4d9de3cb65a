"""Reads JSON and YAML as kubectl does, and keeps the text of each document, so that it can be printed unchanged.

As in kubectl, a text that begins with a brace is read as JSON; as soon as a document is not JSON, the rest is read as
YAML. YAML documents end where a line begins with three hyphens. Text after three dots is not read (Kubernetes,
``apimachinery/pkg/util/yaml/decoder.go``). Unlike in kubectl, three and more JSON documents may be followed by YAML,
and NaN in JSON is refused: kubectl reads it as YAML, where it is text.
"""

from __future__ import annotations

import json
import re
from math import isfinite
from typing import Any, NamedTuple

import yaml

from webhook.files.events import DEEPEST, ContentError, FormatError, build, field_path, parser_of

_LIKE_JSON = re.compile(r"\s*\{\s*(\"|$)")
_BETWEEN = re.compile(r"\s*(?:---[ \t]*(?:\r?\n\s*|$))?")
_SEPARATOR = re.compile(r"^---(.*)\n?", re.MULTILINE)


class Document(NamedTuple):
    """A document and its text. `value` is None if there are only comments."""

    value: Any
    start: int
    end: int
    is_json: bool


def read_documents(text: str) -> list[Any]:
    """Read JSON or YAML documents as values that JSON can represent.

    No part of a value is shared, and every key is a string. Raises FormatError.
    """
    return [document.value for document in find_documents(text) if document.value is not None]


def find_documents(text: str) -> list[Document]:
    """Read as `read_documents`, with the place of each document in the text. Raises FormatError."""
    if not text.lstrip().startswith("{"):
        return list(_read_yaml(text, 0))
    documents: list[Document] = []
    decoder = json.JSONDecoder()
    at = text.index("{")
    while at < len(text):
        try:
            value, end = decoder.raw_decode(text, at)
        except json.JSONDecodeError as error:
            return documents + _read_rest(text, at, error)
        except RecursionError:
            raise FormatError(f"nested too deeply: more than {DEEPEST} levels") from None
        except ValueError:
            raise FormatError("a number has too many digits") from None
        _check(value)
        documents.append(Document(value, at, end, is_json=True))
        separator = _BETWEEN.match(text, end)
        at = separator.end() if separator else end
    return documents


def read_scalars_as_text(text: str) -> Any:
    """Read one document whose values stay text. A key may appear only once. Raises FormatError."""
    value, ended = _build(text, 0, len(text), as_text=True)
    if not ended:
        raise FormatError("not YAML: there is more than one document")
    return value


def _read_rest(text: str, at: int, as_json: json.JSONDecodeError) -> list[Document]:
    try:
        return list(_read_yaml(text, at))
    except FormatError as as_yaml:
        if not _LIKE_JSON.match(text, at):
            raise as_yaml from None
        raise FormatError(f"not JSON at line {as_json.lineno}, column {as_json.colno}: {as_json.msg}") from None


def _read_yaml(text: str, start: int) -> list[Document]:
    documents = []
    for separator in [*_SEPARATOR.finditer(text, start), None]:
        end = separator.start() if separator else len(text)
        if text[start:end].strip():
            documents.append(Document(_build(text, start, end)[0], start, end, is_json=False))
        if separator is not None:
            behind = separator[1].strip()
            if behind and not behind.startswith("#"):
                line = _line_of(text, end)
                raise FormatError(f"not YAML at line {line}: only a comment may follow the separator ---, not {behind}")
            start = separator.end()
    return documents


def _build(text: str, start: int, end: int, *, as_text: bool = False) -> tuple[Any, bool]:
    part = text[start:end]
    if not part.endswith("\n"):
        part += "\n"  # as in kubectl: the last line of a block has a line break, even if the file ends without one
    try:
        return build(parser_of(part), as_text=as_text)
    except yaml.reader.ReaderError as error:
        character = chr(error.character) if isinstance(error.character, int) else error.character
        where = text.find(character, start)
        problem = f"unacceptable character #x{ord(character):04x}"
        raise FormatError(f"not YAML at line {_line_of(text, max(where, start))}: {problem}") from None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = _line_of(text, start) + mark.line if mark else _line_of(text, start)
        line = min(line, _line_of(text, len(text.rstrip())))
        problem = error.problem or "it is unreadable"
        if isinstance(error, ContentError):
            raise FormatError(f"{problem} (line {line})") from None
        raise FormatError(f"not YAML at line {line}: {problem}") from None


def _line_of(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _check(document: Any) -> None:
    """Raise FormatError if a document contains something that JSON does not have, or is nested too deeply."""
    todo: list[tuple[Any, list[str | int]]] = [(document, [])]
    while todo:
        value, path = todo.pop()
        if isinstance(value, (dict, list)):
            if len(path) == DEEPEST:
                raise FormatError(f"nested too deeply: more than {DEEPEST} levels")
            for step, item in value.items() if isinstance(value, dict) else enumerate(value):
                if isinstance(step, str):
                    _check_text(step, path)
                if not isinstance(item, (int, type(None))):
                    todo.append((item, [*path, step]))
        elif isinstance(value, float) and not isfinite(value):
            word = json.dumps(value)
            raise FormatError(f"{field_path(path)} is {word}, which JSON cannot represent")
        elif isinstance(value, str):
            _check_text(value, path)


def _check_text(text: str, path: list[str | int]) -> None:
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise FormatError(f"{field_path(path)} has an unpaired surrogate, which is not valid Unicode") from None
