"""Builds the values of a YAML document from the events of a parser, as kubectl's go-yaml does.

The events come from libyaml, of which go-yaml is a port. PyYAML's wheels contain libyaml. If PyYAML was built without
it, its own parser is used, which is slower. Nothing here recurses, so no input can exhaust the stack. Aliases are
expanded only when the number of values is known to be within the limit.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode
from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, Protocol

import yaml
from yaml.parser import Parser
from yaml.reader import Reader
from yaml.scanner import Scanner

from webhook.files.words import Scalar, plain_value

LIBYAML: Callable[[str], Events] | None = getattr(yaml, "CLoader", None)
"""None if PyYAML was built without libyaml. Only its parser is used."""

DEEPEST = 200
"""The most levels of a document. Objects in the API server have at most a few dozen."""
MOST_VALUES = 10_000_000
"""The most values of a document after its aliases are expanded. A few lines can expand to billions."""

_TOO_DEEP = f"nested too deeply: more than {DEEPEST} levels"
_TAG = "tag:yaml.org,2002:"
_MERGE_KEY = "<<"
_NUMBERS: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}


class FormatError(Exception):
    """A text is neither JSON nor YAML, or has no equivalent in JSON; the message says where and why."""


class ContentError(yaml.MarkedYAMLError):
    """A document is YAML that has no equivalent in JSON; `problem` is the reason."""


class Events(Protocol):
    """Where events come from."""

    def get_event(self) -> Any:
        """Return the next event. Raises yaml.YAMLError."""


class PythonParser(Reader, Scanner, Parser):
    """PyYAML's own parser, which takes tabs between tokens as libyaml does."""

    def __init__(self, text: str) -> None:
        Reader.__init__(self, text)
        Scanner.__init__(self)
        Parser.__init__(self)

    def scan_to_next_token(self) -> None:
        """Skip blanks and comments between tokens, and skip tabs where no key can begin."""
        super().scan_to_next_token()
        while self.peek() == "\t" and (self.flow_level or not self.allow_simple_key):
            self.forward()
            super().scan_to_next_token()

    def scan_plain_spaces(self, indent: int, start_mark: Any) -> list[str] | None:
        """Return the text between two words of a plain scalar: blanks and tabs, or line breaks."""
        blanks = self.skip_blanks()
        breaks: list[str] | None = super().scan_plain_spaces(indent, start_mark)
        while breaks and self.column >= indent and self.skip_blanks() and self.peek() in "\r\n":
            more = super().scan_plain_spaces(indent, start_mark)  # the line contained only tabs
            if more is None:
                return None
            breaks = ["\n"] * (_line_breaks(breaks) + _line_breaks(more) - 1)
        return [blanks] if breaks == [] and blanks else breaks

    def save_possible_simple_key(self) -> None:
        """Refuse deep nesting early: the time of the parser's search for keys grows with the square of the depth."""
        if self.flow_level > DEEPEST:
            raise ContentError(problem=_TOO_DEEP, problem_mark=self.get_mark())
        super().save_possible_simple_key()

    def skip_blanks(self) -> str:
        """Read and return the next blanks and tabs."""
        length = 0
        while self.peek(length) in " \t":
            length += 1
        blanks: str = self.prefix(length)
        self.forward(length)
        return blanks


def parser_of(text: str) -> Events:
    """Return the fastest parser that is installed."""
    return LIBYAML(text) if LIBYAML else PythonParser(text)


class _Open:
    """A mapping or list that has not ended yet."""

    __slots__ = ("anchor", "before", "key", "keyed", "value")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None, before: int) -> None:
        self.value = value
        self.anchor = anchor
        self.before = before  # the number of values in the document before it
        self.key: str | None = None  # None: the values of a merge key follow
        self.keyed = False  # whether the key has been read


class _Builder:
    def __init__(self, *, as_text: bool) -> None:
        self.as_text = as_text
        self.open: list[_Open] = []
        self.anchors: dict[str, tuple[Any, int] | None] = {}
        self.count = 0
        self.shared = False
        self.root: Any = None

    def take(self, event: Any) -> None:
        kind = type(event)
        if kind is yaml.ScalarEvent:
            self.count += 1
            merges = event.value == _MERGE_KEY and (event.implicit[0] or event.tag == f"{_TAG}merge")
            value = event.value if self.as_text else _scalar(event)
            if event.anchor:
                self.anchors[event.anchor] = (value, 1)
            self.put(value, event, merges=merges and not self.as_text)
        elif kind is yaml.AliasEvent:
            self.put(self.anchored(event), event)
        elif kind is yaml.MappingStartEvent or kind is yaml.SequenceStartEvent:
            self.count += 1
            if len(self.open) == DEEPEST:
                raise _fault(event, _TOO_DEEP)
            if event.anchor:
                self.anchors[event.anchor] = None
            self.open.append(_Open({} if kind is yaml.MappingStartEvent else [], event.anchor, self.count))
        else:
            ended = self.open.pop()
            if ended.anchor:
                self.anchors[ended.anchor] = (ended.value, self.count - ended.before + 1)
            self.put(ended.value, event)

    def anchored(self, event: Any) -> Any:
        if event.anchor not in self.anchors:
            raise _fault(event, f"unknown anchor {event.anchor}")
        found = self.anchors[event.anchor]
        if found is None:
            raise _fault(event, f"the anchor {event.anchor} contains itself")
        value, size = found
        self.count += size
        if self.count > MOST_VALUES:
            raise _fault(event, f"aliases expand to more than {MOST_VALUES} values")
        self.shared = self.shared or isinstance(value, (dict, list))
        return value

    def put(self, value: Any, event: Any, *, merges: bool = False) -> None:
        if isinstance(value, float) and not isfinite(value):
            raise _fault(event, f"{self.path(value)} is {event.value}, which JSON cannot represent")
        if not self.open:
            self.root = value
            return
        here = self.open[-1]
        if isinstance(here.value, list):
            here.value.append(value)
        elif not here.keyed:
            here.keyed, here.key = True, None if merges else self.key_of(value, here.value, event)
        else:
            here.keyed = False
            if here.key is None:
                _merge(here.value, value, event)
            else:
                here.value[here.key] = value

    def key_of(self, value: Any, mapping: dict[str, Any], event: Any) -> str:
        """Name a key as JSON does. To Python, 1 and true are the same key."""
        if isinstance(value, (dict, list)):
            raise _fault(event, "a mapping or a list cannot be a key")
        if value is None:
            raise _fault(event, "null cannot be a key")
        key = value if isinstance(value, str) else json.dumps(value)
        if self.as_text and key in mapping:
            raise _fault(event, f"duplicate key {key}")
        return key

    def path(self, value: Any) -> str:
        steps: list[str | int] = []
        for outer in self.open:
            if isinstance(outer.value, list):
                steps.append(len(outer.value))
            else:
                steps.append(outer.key if outer.keyed and outer.key is not None else "a key")
        return field_path(steps) if steps else str(value)


def build(events: Events, *, as_text: bool = False) -> tuple[Any, bool]:
    """Return the first document's value, None without one, and whether it ended the text (looked at with `as_text`).

    No part of the value is shared, and every key is a string. With `as_text`, scalars stay text, and a key may appear
    only once; otherwise the last one counts. A key and ``<<`` override each other: the later one counts (observed with
    kubectl 1.32). Raises FormatError and yaml.YAMLError.
    """
    builder = _Builder(as_text=as_text)
    event = events.get_event()
    while not isinstance(event, (yaml.DocumentEndEvent, yaml.StreamEndEvent)):
        if not isinstance(event, (yaml.StreamStartEvent, yaml.DocumentStartEvent)):
            builder.take(event)
        event = events.get_event()
    ended = not as_text or any(isinstance(last, yaml.StreamEndEvent) for last in (event, events.get_event()))
    if builder.shared:
        return json.loads(json.dumps(builder.root)), ended
    return builder.root, ended


def field_path(steps: Sequence[str | int]) -> str:
    """Return a place in a document as Kubernetes writes it, such as ``spec.containers[0].name``."""
    path = ""
    for step in steps:
        if isinstance(step, str) and re.fullmatch(r"[A-Za-z_-][A-Za-z0-9_-]*", step):
            path += f".{step}"
        else:
            path += f"[{step}]"
    return path.removeprefix(".")


def _merge(mapping: dict[str, Any], value: Any, event: Any) -> None:
    several = value if isinstance(value, list) else [value]
    if not all(isinstance(one, dict) for one in several):
        raise _fault(event, "<< needs a mapping or a list of mappings")
    for one in reversed(several):
        mapping.update(one)


def _scalar(event: Any) -> Scalar:
    text: str = event.value
    if event.tag is None:
        return plain_value(text) if event.implicit[0] else text
    name = event.tag.removeprefix(_TAG)
    if name == "binary":
        try:
            return b64decode("".join(text.split()), validate=True).decode()
        except ValueError as error:
            raise _fault(event, f"invalid !!binary: {error}") from None
    if name not in _NUMBERS:
        return text  # kubectl passes over tags that it does not know
    value = plain_value(text)
    if not isinstance(value, _NUMBERS[name]) or (name != "bool" and isinstance(value, bool)):
        raise _fault(event, f"{text} is not a valid !!{name}")
    return value


def _line_breaks(chunks: list[str]) -> int:
    """Return how many line breaks PyYAML's scanner has folded into these chunks."""
    return 1 if chunks == [" "] else len(chunks) + 1


def _fault(event: Any, problem: str) -> ContentError:
    return ContentError(problem=problem, problem_mark=event.start_mark)
