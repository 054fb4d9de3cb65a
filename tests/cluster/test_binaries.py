"""Where a program is found, and the message if it is missing."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.cluster import binaries
from tests.cluster.binaries import find, module_folder, prepare


@pytest.fixture(autouse=True)
def nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in [name for name in os.environ if name.startswith("TEST_ASSET_")]:
        monkeypatch.delenv(variable)
    monkeypatch.delenv("KUBEBUILDER_ASSETS", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "path"))
    monkeypatch.setattr(binaries, "CACHE", tmp_path / "cache")


def program(file: Path, script: str = "") -> Path:
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"#!/bin/sh\n{script}\n")
    file.chmod(0o755)
    return file


def found(name: str) -> Path:
    """Find it. A skip would hide what these tests are for."""
    try:
        return find(name)
    except pytest.skip.Exception as skipped:
        raise AssertionError(str(skipped)) from None


def test_a_named_file_overrides_the_folder_and_the_folder_overrides_the_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_path = program(tmp_path / "path" / "kube-apiserver")
    assert found("kube-apiserver") == on_path
    in_folder = program(tmp_path / "assets" / "kube-apiserver")
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    assert found("kube-apiserver") == in_folder
    named = program(tmp_path / "mine")
    monkeypatch.setenv("TEST_ASSET_KUBE_APISERVER", str(named))
    assert found("kube-apiserver") == named


def test_what_envtest_does_not_ship_is_looked_for_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBEBUILDER_ASSETS", str(tmp_path / "assets"))
    manager = program(tmp_path / "path" / "kube-controller-manager")
    assert found("kube-controller-manager") == manager
    with pytest.raises(pytest.fail.Exception, match=r"KUBEBUILDER_ASSETS names .*/assets/etcd, which does not exist"):
        find("etcd")


@pytest.mark.parametrize(
    ("name", "way"),
    [("etcd", "KUBEBUILDER_ASSETS"), ("kube-controller-manager", "in TEST_ASSET_KUBE_CONTROLLER_MANAGER$")],
)
def test_a_missing_program_skips_the_tests_and_names_the_ways_to_get_it(name: str, way: str) -> None:
    with pytest.raises(pytest.skip.Exception, match=rf"^{name} is missing: install Go .* on the PATH, .*{way}"):
        find(name)


def test_the_controllers_manifests_come_only_from_go() -> None:
    with pytest.raises(pytest.skip.Exception, match=r"manifests of sigs\.k8s\.io/jobset are missing: .* install Go"):
        module_folder("sigs.k8s.io/jobset", of="trainer")


def test_it_is_built_once_and_again_when_it_is_gone(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    calls = tmp_path / "calls"
    # Go's command line is `go -C … build … -o FILE PACKAGE`: the file is the last but one.
    program(
        tmp_path / "path" / "go",
        f'echo "$@" >> {calls}; while [ $# -gt 2 ]; do shift; done; : > "$1"',
    )
    built = found("kube-apiserver")
    assert built == found("kube-apiserver") == tmp_path / "cache" / "kube-apiserver"
    (call,) = calls.read_text().splitlines()
    assert call.endswith(f"-o {built} k8s.io/kubernetes/cmd/kube-apiserver")
    assert f"gitVersion={binaries.KUBERNETES}" in call
    built.unlink()
    found("kube-apiserver")
    assert len(calls.read_text().splitlines()) == 2
    assert capfd.readouterr().err.count("building kube-apiserver") == 2


def test_a_build_that_fails_says_why_and_is_tried_again(tmp_path: Path) -> None:
    program(tmp_path / "path" / "go", "echo no space left >&2; exit 1")
    prepare("trainer")  # only gets things ready: the test that needs the program says that it is not there
    for _ in range(2):
        with pytest.raises(pytest.fail.Exception, match="no space left"):
            find("jobset")
