from __future__ import annotations

from pathlib import Path

import pytest

from webhook.cluster.kube import KubeClient, KubeConfigError, KubeUnavailableError

CONTEXT = """\
current-context: c
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {token: t}}]
"""


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"hello",
        b"[1, 2]",
        b"{}",
        b"a: b: c",
        b"\xff\xfe\xfd binary",
        b"kind: Pod",
        b"contexts: x\nclusters: 1\nusers: []\ncurrent-context: x",
        f"{CONTEXT}clusters: [{{name: c}}]".encode(),
        f"{CONTEXT}clusters: [c]".encode(),
        f"{CONTEXT}clusters: [{{name: c, cluster: {{server: 1}}}}]".encode(),
        f"{CONTEXT}clusters: [{{name: c, cluster: {{server: 'https://h', certificate-authority: nowhere}}}}]".encode(),
    ],
)
def test_a_file_that_is_not_a_kubeconfig_is_named_in_one_line(content: bytes, tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_bytes(content)
    with pytest.raises(KubeConfigError) as raised:
        KubeClient.from_environment(kubeconfig=str(file))
    assert str(file) in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_missing_kubeconfig_is_named(tmp_path: Path) -> None:
    with pytest.raises(KubeConfigError, match=r"^kubeconfig .*nowhere not found$"):
        KubeClient.from_environment(kubeconfig=str(tmp_path / "nowhere"))


def test_a_server_that_cannot_be_reached_is_named(tmp_path: Path) -> None:
    file = tmp_path / "config"
    file.write_text(f"{CONTEXT}clusters: [{{name: c, cluster: {{server: 'https://127.0.0.1:1'}}}}]")
    with pytest.raises(
        KubeUnavailableError, match=r"the API server https://127.0.0.1:1 cannot be reached: connection refused"
    ):
        KubeClient.from_environment(kubeconfig=str(file)).get("/version")
