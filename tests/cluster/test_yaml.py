"""YAML, as the real kubectl reads it."""

from __future__ import annotations

import json
import random
import re
from typing import Any

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.webhook.files.test_formats import READ, WORDS
from webhook.files.formats import read_documents
from webhook.files.writing import dump_yaml

HEAD = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\n"


def words() -> list[str]:
    """Return words that look like numbers, always the same."""
    some = random.Random(4)
    made = {"".join(some.choices("01278xXoObBeE_+.", k=some.randint(1, 6))) for _ in range(500)}
    return sorted({*WORDS, *made})


def read(plane: ControlPlane, text: str) -> Any:
    return json.loads(plane.kubectl("annotate", "--local", "--filename=-", "--output=json", "a=b", stdin=text))["xs"]


def test_plain_words_have_the_types_that_kubectl_reads(control_plane: ControlPlane) -> None:
    text = f"{HEAD}xs:\n" + "".join(f"- {word}\n" for word in words())
    (document,) = read_documents(text)
    taken = read(control_plane, text)
    assert [(word, ours) for word, ours, its in zip(words(), document["xs"], taken, strict=True) if ours != its] == []
    assert [type(value) is bool for value in taken] == [type(value) is bool for value in document["xs"]]


def test_kubectl_reads_text_that_looks_like_another_type_back_as_text(control_plane: ControlPlane) -> None:
    assert read(control_plane, HEAD + dump_yaml({"xs": words()})) == words()


MAPPINGS = [text for text in READ if re.match(r'("?[a-z<]+"?|&k a): ', text) and not re.search(r"---|\.\.\.", text)]


@pytest.mark.parametrize("text", MAPPINGS)
def test_documents_are_read_as_kubectl_reads_them(control_plane: ControlPlane, text: str) -> None:
    printed = control_plane.kubectl("annotate", "--local", "--filename=-", "--output=json", "x=y", stdin=HEAD + text)
    taken = json.loads(printed)
    assert {key: value for key, value in taken.items() if key not in {"apiVersion", "kind", "metadata"}} == READ[text][
        0
    ]
