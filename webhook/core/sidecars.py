"""Names of sidecars that platforms inject into pods. No user code runs in them, so they get no token.

Each name is from the source of the project that injects it (November 2026). Names that people give to their own
containers are left out on purpose: `proxy`, `sidecar`, `metrics`, `logger`. Other general names (`agent`, `autoscaler`,
`collector`, …) count only in pods with their platform's label.
"""

from __future__ import annotations

from collections.abc import Mapping

from webhook.core.pod import Container, EnvVar, Pod

BY_NAME = frozenset(
    {
        # service meshes
        "istio-proxy",  # istio/istio: pkg/kube/inject
        "linkerd-proxy",  # linkerd/linkerd2: pkg/k8s/labels.go
        "linkerd-debug",  # linkerd/linkerd2: pkg/k8s/labels.go
        "envoy-sidecar",  # hashicorp/consul-k8s before 1.0: connect-inject
        "consul-sidecar",  # hashicorp/consul-k8s before 1.0: connect-inject
        "kuma-sidecar",  # kumahq/kuma: pkg/plugins/runtime/k8s/util/util.go
        "envoy",  # aws/aws-app-mesh-controller-for-k8s: pkg/inject/envoy.go; openservicemesh/osm: pkg/constants
        "nginx-mesh-sidecar",  # nginxinc/nginx-service-mesh: pkg/apis/mesh
        "traffic-agent",  # telepresenceio/telepresence: cmd/traffic/cmd/manager/mutator
        "daprd",  # dapr/dapr: pkg/injector
        # secrets, identities, authentication
        "vault-agent",  # hashicorp/vault-k8s: agent-inject/agent
        "azwi-proxy",  # Azure/azure-workload-identity: pkg/webhook/consts.go
        "kube-rbac-proxy",  # opendatahub-io/kserve and kubeflow: kube-rbac-proxy in front of predictors and notebooks
        "oauth-proxy",  # opendatahub-io/kserve and kubeflow: OauthProxyContainerName
        "oauth2-proxy",  # oauth2-proxy/manifests: the chart's name
        "opa-istio",  # open-policy-agent/opa-envoy-plugin: the sidecar of its quick start's admission controller
        # storage and databases
        "gke-gcsfuse-sidecar",  # GoogleCloudPlatform/gcs-fuse-csi-driver: pkg/webhook/sidecar_spec.go
        "gke-gcsfuse-metadata-prefetch",  # GoogleCloudPlatform/gcs-fuse-csi-driver: pkg/webhook/sidecar_spec.go
        "hf-mount",  # huggingface/hf-csi-driver: pkg/webhook
        "cloud-sql-proxy",  # Google's guide "Connect from GKE"
        "cloudsql-proxy",  # the same guide before the proxy's version 2
        # observability
        "otc-container",  # open-telemetry/opentelemetry-operator: internal/naming/main.go
        "datadog-agent-injected",  # DataDog/datadog-agent: pkg/clusteragent/admission/mutate/agent_sidecar
        "newrelic-infrastructure-sidecar",  # newrelic/newrelic-infra-operator: agent sidecar
        "jaeger-agent",  # jaegertracing/jaeger-operator: pkg/inject/sidecar.go
        "xray-daemon",  # aws/aws-app-mesh-controller-for-k8s: pkg/inject/xray.go
        "fluent-bit",  # fluent/helm-charts: charts/fluent-bit
        "fluentbit",  # ray-project/kuberay: config/samples/ray-cluster.fluentbit.yaml
        "fluentd",  # fluent/helm-charts: charts/fluentd
        "fluentd-proxy",  # knative/serving: pkg/reconciler, FluentdContainerName
        # machine learning platforms
        "queue-proxy",  # knative/serving: pkg/reconciler/revision/resources, QueueContainerName
        "metrics-logger-and-collector",  # kubeflow/katib: pkg/metricscollector/v1beta1/common/const.go
        "airflow-xcom-sidecar",  # apache/airflow: providers/cncf/kubernetes, utils/xcom_sidecar.py
        "seldon-container-engine",  # SeldonIO/seldon-core: operator, EngineContainerName
        "sidecar-tekton-log-results",  # tektoncd/pipeline: pkg/apis/pipeline, ReservedResultsSidecarContainerName
    }
)

BY_BEGINNING = (
    "consul-dataplane",  # hashicorp/consul-k8s: control-plane/connect-inject; one for each service of a pod
    "csql-",  # GoogleCloudPlatform/cloud-sql-proxy-operator: internal/workload/names.go, ContainerPrefix
    "fluid-fuse",  # fluid-cloudnative/fluid: pkg/common, FuseContainerName; numbered in later versions
    "jfs-mount",  # juicedata/juicefs-csi-driver: pkg/config, MountContainerName; one for each volume
    "modelcar",  # kserve/kserve: pkg/constants/constants.go, ModelcarContainerName; numbered for several models
    "flyte-copilot-",  # flyteorg/flyte: flyteplugins, CoPilot.NamePrefix
)

WITH_A_LABEL: Mapping[str, tuple[str, ...]] = {
    # argoproj/argo-workflows: workflow/common/common.go, WaitContainerName
    "wait": ("workflows.argoproj.io/workflow",),
    # kserve/kserve: pkg/constants/constants.go, AgentContainerName
    "agent": ("serving.kserve.io/inferenceservice",),
    # ray-project/kuberay: controllers/ray/common/pod.go, AutoscalerContainerName
    "autoscaler": ("ray.io/cluster",),
    # ray-project/kuberay: the history server's collector, and a RayJob's submitter in the head pod
    "collector": ("ray.io/cluster",),
    "ray-job-submitter": ("ray.io/node-type",),
    # kubeflow/katib: pkg/metricscollector/v1beta1/common/const.go, for other collectors than stdout and files
    "metrics-collector": ("katib.kubeflow.org/trial", "katib.kubeflow.org/experiment"),
}
"""Names that are too general alone: the pod must also have one of these labels."""

_OF_A_SIDECARSET = EnvVar("IS_INJECTED", "true")
"""The variable of each container that a SidecarSet adds (openkruise/kruise: pkg/control/sidecarcontrol)."""


def is_sidecar(pod: Pod, container: Container) -> bool:
    """Return whether an app container is a sidecar that a platform injected, by its name or a SidecarSet's variable."""
    name = container.name
    if name in BY_NAME or name.startswith(BY_BEGINNING) or _OF_A_SIDECARSET in (container.env or ()):
        return True
    labels = WITH_A_LABEL.get(name)
    return labels is not None and any(label in pod.labels for label in labels)
