"""Finds Kubernetes' own programs, and Prometheus' promtool, for the tests, or builds them from Go modules.

In this order: the folder in KUBEBUILDER_ASSETS and the files in TEST_ASSET_KUBE_APISERVER and TEST_ASSET_ETCD (the
convention of envtest), then PATH, then a build into .cache/bin, then a skip that says what is missing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import sys
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
    "certmanager": {"certmanager": "."},
    "prometheus": {"promtool": "github.com/prometheus/prometheus/cmd/promtool"},
}

_ENVTEST = {"etcd", "kube-apiserver", "kubectl"}
"""The programs that `setup-envtest` installs. It does not install kube-controller-manager."""


def find(name: str) -> Path:
    """Return a program's path; skips the test if the program is missing and cannot be built."""
    return _given(name) or _built(name)


def prepare(module: str) -> None:
    """Build the missing programs of one Go module. `find` reports those that cannot be built."""
    for name in _MODULES[module]:
        with contextlib.suppress(pytest.skip.Exception, pytest.fail.Exception):
            find(name)


def module_folder(module: str, *, of: str) -> Path:
    """Return the folder of a Go module that `of`'s programs are built from; its manifests are in there."""
    if not shutil.which("go"):
        pytest.skip(f"the manifests of {module} are missing: they come with its Go module, so install Go")
    sources = str(HERE / "go" / of)
    _go(["go", "-C", sources, "mod", "download", module])
    return Path(_go(["go", "-C", sources, "list", "-m", "-f", "{{.Dir}}", module]).strip())


def _given(name: str) -> Path | None:
    variable = _variable(name)
    if variable in os.environ:
        return _existing(Path(os.environ[variable]), variable)
    if "KUBEBUILDER_ASSETS" in os.environ:
        file = Path(os.environ["KUBEBUILDER_ASSETS"], name)
        if file.exists() or name in {"etcd", "kube-apiserver"}:
            return _existing(file, "KUBEBUILDER_ASSETS")
    found = shutil.which(name)
    return Path(found) if found else None


def _variable(name: str) -> str:
    return f"TEST_ASSET_{name.replace('-', '_').upper()}"


def _existing(file: Path, variable: str) -> Path:
    if not file.exists():
        pytest.fail(f"{variable} names {file}, which does not exist", pytrace=False)
    return file


def _built(name: str) -> Path:
    module = next(module for module, programs in _MODULES.items() if name in programs)
    sources = HERE / "go" / module
    CACHE.mkdir(parents=True, exist_ok=True)
    stamp = CACHE / f"{name}.built-from"
    files = (file for file in sorted(sources.rglob("*")) if file.is_file())
    wanted = "".join(file.read_text() for file in files)
    with (CACHE / f"{module}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # workers of pytest-xdist ask at the same time
        if not (CACHE / name).exists() or not stamp.exists() or stamp.read_text() != wanted:
            _need_go(name)
            print(f"building {name} (minutes, once)", file=sys.stderr, flush=True)  # noqa: T201 - for who waits
            package = _MODULES[module][name]
            _go(["go", "-C", str(sources), "build", *_options(module), "-o", str(CACHE / name), package])
            stamp.write_text(wanted)
    return CACHE / name


def _need_go(name: str) -> None:
    if not shutil.which("go"):
        folder = ", or name the folder that `setup-envtest` made in KUBEBUILDER_ASSETS" if name in _ENVTEST else ""
        pytest.skip(
            f"{name} is missing: install Go (it is then built), put it on the PATH, or name the file in "
            f"{_variable(name)}{folder}"
        )


def _go(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.fail(f"{' '.join(command)}\n{done.stderr[-4000:]}", pytrace=False)
    return done.stdout


def _options(module: str) -> list[str]:
    if module == "prometheus":
        return ["-tags", "remove_all_sd", "-ldflags", "-s -w"]  # without every cloud's client
    if module != "kubernetes":
        return ["-ldflags", "-s -w"]
    # Without a version the server says v0.0.0, and clients that compare versions misbehave.
    major, minor, _ = KUBERNETES.removeprefix("v").split(".")
    package = "k8s.io/component-base/version"
    versions = f"-X {package}.gitVersion={KUBERNETES} -X {package}.gitMajor={major} -X {package}.gitMinor={minor}"
    return ["-ldflags", f"-s -w {versions}"]
