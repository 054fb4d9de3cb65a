"""Finds Kubernetes' own programs for the tests, or builds them from Go modules.

In this order: the folder in KUBEBUILDER_ASSETS and the files in TEST_ASSET_KUBE_APISERVER and TEST_ASSET_ETCD (the
convention of envtest), then PATH, then a build into .cache/bin, then a skip that says what is missing.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
from pathlib import Path

import pytest

KUBERNETES = "v1.36.3"
HERE = Path(__file__).parent
CACHE = HERE.parent.parent / ".cache" / "bin"
_MODULES = {
    "kubernetes": {
        "etcd": "./etcd",
        "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
        "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
        "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    },
    "trainer": {
        "jobset": "sigs.k8s.io/jobset",  # its main package is the module's root
        "trainer-controller-manager": "github.com/kubeflow/trainer/v2/cmd/trainer-controller-manager",
    },
}


def find(name: str) -> Path:
    """Give a program's path; skips the test that needs it when there is none and it cannot be built."""
    return _given(name) or _built(name)


def module_folder(module: str) -> Path:
    """Give the folder of a Go module that the trainer is built from; its manifests are in there."""
    command = ["go", "-C", str(HERE / "go" / "trainer"), "list", "-m", "-f", "{{.Dir}}", module]
    _need_go(module)
    _go(["go", "-C", str(HERE / "go" / "trainer"), "mod", "download", module])
    return Path(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip())


def _given(name: str) -> Path | None:
    variable = f"TEST_ASSET_{name.replace('-', '_').upper()}"
    if variable in os.environ:
        return _existing(Path(os.environ[variable]), variable)
    if "KUBEBUILDER_ASSETS" in os.environ:
        file = Path(os.environ["KUBEBUILDER_ASSETS"], name)
        if file.exists() or name in {"etcd", "kube-apiserver"}:
            return _existing(file, "KUBEBUILDER_ASSETS")
    found = shutil.which(name)
    return Path(found) if found else None


def _existing(file: Path, variable: str) -> Path:
    if not file.exists():
        pytest.fail(f"{variable} names {file}, which does not exist", pytrace=False)
    return file


def _built(name: str) -> Path:
    module = next(module for module, programs in _MODULES.items() if name in programs)
    sources = HERE / "go" / module
    CACHE.mkdir(parents=True, exist_ok=True)
    stamp = CACHE / f"{name}.built-from"
    wanted = (sources / "go.sum").read_text() + (sources / "go.mod").read_text()
    with (CACHE / f"{module}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of pytest-xdist ask at the same time
        if not stamp.exists() or stamp.read_text() != wanted:
            _need_go(name)
            for program, package in _MODULES[module].items():
                print(f"building {program} (minutes, once)", flush=True)  # noqa: T201 - for the person who waits
                _go(
                    ["go", "-C", str(sources), "build", "-ldflags", _flags(module), "-o", str(CACHE / program), package]
                )
                (CACHE / f"{program}.built-from").write_text(wanted)
    return CACHE / name


def _need_go(name: str) -> None:
    if not shutil.which("go"):
        pytest.skip(
            f"{name} is missing: install Go (it is then built), put it on the PATH, or name a folder that has it "
            "in KUBEBUILDER_ASSETS (see `setup-envtest`)"
        )


def _go(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stderr[-4000:]}", pytrace=False)


def _flags(module: str) -> str:
    if module != "kubernetes":
        return "-s -w"
    # Without a version the server says v0.0.0, and clients that compare versions misbehave.
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    package = "k8s.io/component-base/version"
    return f"-s -w -X {package}.gitVersion={KUBERNETES} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
