"""Plain English in everything a person reads: messages, help, logs, docs, docstrings, comments, manifests.

A phrase that matches a rule fails with its place and what to write instead. To add a rule, add a line to RULES.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[1]
READ_BY_PEOPLE = re.compile(r"\.(py|md|yaml|toml)$|(^|/)(Makefile|Dockerfile)$")
LEFT_OUT = ("tests/data/", "requirements/", "tests/test_words.py")


class Rule(NamedTuple):
    """A phrase to avoid, as a regular expression that ignores case, and what to write instead."""

    phrase: str
    instead: str


RULES = (
    Rule(r"\bparted\b", "separated by, comma-separated"),
    Rule(r"\b(is|are|was|were|be|being) said\b", "name who reports it"),
    Rule(r"\bof (ours|yours|theirs)\b", "our, your, their"),
    Rule(r"\bof (its|their|his|her|our|your|my|one's) own\b(?! \w)", "its own …, a separate …"),
    Rule(r"\bthere (is|are|was|were) none\b", "not found, has no …"),
    Rule(r"\bas (it|they) stands?\b", "unchanged, as written"),
    Rule(r"\bstand(s|ing)? (in|on|behind|before|beside|at|there|next)\b", "is in, follows, precedes, prevents"),
    Rule(r"\bin the way of\b", "prevents"),
    Rule(r"(?<!there) is no (?!longer\b|more\b|less\b|later\b|worse\b)", "is not a …"),
    Rule(r"\b(go|goes|going|went) before\b", "overrides (precedence), is before (order)"),
    Rule(r"\bbeyond measure\b", "too large"),
    Rule(r"\b(who(so)?ever|whom(so)?ever|to whom)\b", "the user who, anyone who"),
    Rule(r"\b(what(so)?ever|whichever)\b", "any, every, or name the thing"),
    Rule(r"\b(hence|whence|thus|thereby|whereby)\b", "so"),
    Rule(r"\b(whereof|thereof|wherein|therein|lest|nought|forbear|albeit|upon|shall)\b", "an everyday word"),
    Rule(r"\bneed not\b|\bbe it\b", "does not have to, whether"),
    Rule(r"\bat all\b|\bfor good\b", "leave it out"),
    Rule(r"\bbec(o|a)mes? of\b", "what happens to, the results of"),
    Rule(r"\bgo(es)? along\b", "is sent with"),
    Rule(r"\b(is|are|was) told\b", "gets, is shown, reads"),
    Rule(r"\bis meant\?", "did you mean …?"),
    Rule(r"\bbeside\b", "next to, with, in addition to"),
    Rule(r"\banew\b|\bin vain\b|\bfor ever\b", "again, without success, forever"),
    Rule(r"\btaken for\b|\btakes? (it|this|that|them) for\b", "mistaken for, read as"),
    Rule(r"\b(tell|tells|told|telling) (\w+ )?apart\b", "distinguish"),
    Rule(r"\b(held|holds?|holding) (\w+ )?against\b", "compare with"),
    Rule(r"\b(is|are|be) good for\b", "valid for, expires in"),
    Rule(r"\bspoken\b", "supported"),
    Rule(r"\bspoilt\b", "invalid, changed"),
    Rule(r"\b(a|an|any|half a|of a) (whole )?head\b|\bhead (and|or) body\b", "headers"),
    Rule(r"\blook(ed|s|ing)?-ups?\b|\btime-outs?\b", "lookup, timeout"),
    Rule(r'(?m)^[\t ]*"""(Gives?|Says?|Tells?|Holds?|Have|Has|Lets?) ', "Return, Check, Read, Raise, Write, …"),
)


class Finding(NamedTuple):
    """A phrase that matches a rule, and the line on which it begins."""

    line: int
    phrase: str
    instead: str


def find_phrases(text: str) -> Iterator[Finding]:
    """Find the phrases of RULES: in text, across line breaks in comments and strings, and in the names of tests."""
    joined = re.sub(r"""["']\n\s*f?["']|\n[ \t]*(#|>)[ \t]?""", lambda gap: re.sub(r"[^\n]", " ", gap[0]), text)
    joined = re.sub(r"def test_\w+", lambda name: name[0].replace("_", " "), joined)
    for rule in RULES:
        for match in re.finditer(rule.phrase.replace(" ", r"\s+"), joined, re.IGNORECASE):
            begins = match.end() - len(match[0].lstrip())
            yield Finding(joined.count("\n", 0, begins) + 1, " ".join(match[0].split()), rule.instead)


def files_that_people_read() -> list[str]:
    """Return the paths of the repository's files, tracked or new, whose words are checked."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    return [
        name
        for name in sorted(set(names))
        if READ_BY_PEOPLE.search(name) and not name.startswith(LEFT_OUT) and (ROOT / name).is_file()
    ]


def test_everything_is_in_plain_english() -> None:
    found = [
        f"{name}:{finding.line}: “{finding.phrase}”: write {finding.instead}"
        for name in files_that_people_read()
        for finding in find_phrases((ROOT / name).read_text())
    ]
    if found:
        pytest.fail("\n".join(found), pytrace=False)


def test_code_docs_manifests_and_the_makefile_are_checked() -> None:
    checked = set(files_that_people_read())
    assert checked >= {"Makefile", "Dockerfile", "README.md", "docs/install.md", "webhook/core/decision.py"}
    assert checked >= {"manifests/base/webhook.yaml", "pyproject.toml", "tests/conftest.py"}


@pytest.mark.parametrize(
    ("text", "finding"),
    [
        ("Names, parted by commas.", (1, "parted")),
        ("A paragraph.\n\nIt is skipped, and\nsaid so. It is\nsaid to be missing.\n", (4, "is said")),
        ("# a process of\n# its own: it ends by itself\n", (1, "of its own")),
        ('raise ValueError(\n    "the port is "\n    f"no number: {port}"\n)\n', (2, "is no")),
        ('def port() -> int:\n    """Give the port."""\n', (2, '"""Give')),
        ("def test_a_wrong_name_is_said_to_be() -> None:\n", (1, "is said")),
        ("summary: The token IS GOOD FOR a day.\n", (1, "IS GOOD FOR")),
    ],
)
def test_a_phrase_to_avoid_is_found_with_its_line(text: str, finding: tuple[int, str]) -> None:
    assert [(line, phrase) for line, phrase, _ in find_phrases(text)] == [finding]


@pytest.mark.parametrize(
    "text",
    ["There is no token.", "The token is no longer valid.", "with a token of its own issuer", "is_no_port = parted_by"],
)
def test_ordinary_english_passes(text: str) -> None:
    assert list(find_phrases(text)) == []
