"""cert-manager's real controllers and cainjector on a control plane, with their CRDs."""

from __future__ import annotations

from tests.cluster.binaries import find, module_folder
from tests.cluster.controlplane import ControlPlane, Program


class CertManager:
    """The controllers, run as the administrator: their own RBAC is not tested here."""

    def __init__(self, control_plane: ControlPlane) -> None:
        self._plane = control_plane
        self._programs: list[Program] = []

    def start(self) -> None:
        """Install the CRDs, and start the controllers."""
        crds = module_folder("github.com/cert-manager/cert-manager", of="certmanager") / "deploy" / "crds"
        names = ("certificates", "certificaterequests", "issuers", "clusterissuers")
        self._plane.kubectl("apply", "--server-side", *(f"--filename={crds}/cert-manager.io_{n}.yaml" for n in names))
        for name in names:
            self._plane.kubectl("wait", "--for=condition=established", "--timeout=120s", f"crd/{name}.cert-manager.io")
        log, environment = self._plane.folder / "cert-manager.log", {"KUBECONFIG": str(self._plane.kubeconfig)}
        self._programs.append(Program([find("certmanager")], log, environment))

    def stop(self) -> None:
        """Stop them."""
        for program in self._programs:
            program.stop(seconds=5)
