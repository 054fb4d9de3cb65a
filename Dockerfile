# The webhook's image: it needs no compiler, pip or shell, and runs as any user on a read-only root file system with a
# writable /tmp. The same image runs `token refresh` and `check`. docs/install.md says how to use another base image, how to
# fill in the labels and how to build for two architectures.

# Another base image instead of the pinned one. The default is in the FROM lines, because buildah 1.28 (Podman 4.3) does not
# find a stage whose name is the default of an argument.
ARG PYTHON=

# The digest is that of the index for all architectures. Python 3.13.15 on Debian 13.6. `FROM` and the labels change together.
FROM python:3.13-slim@sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b AS pinned-python
LABEL org.opencontainers.image.base.name="docker.io/library/python:3.13-slim" \
      org.opencontainers.image.base.digest="sha256:7c61056e61ac89e852de05f3dc6fa51a6dd2181797bceed46aa725dd7cb2cd3b"

FROM ${PYTHON:-pinned-python} AS build
WORKDIR /src
RUN python -m venv --without-pip /opt/mlflow-webhook
COPY requirements/runtime.txt requirements/
RUN pip --disable-pip-version-check --no-cache-dir --python /opt/mlflow-webhook/bin/python \
        install --require-hashes --only-binary :all: -r requirements/runtime.txt
COPY webhook webhook
COPY certs certs
COPY docker/mlflow-webhook /opt/mlflow-webhook/bin/
# The two packages are copied: building a wheel would need build tools that nothing pins here.
RUN site=$(/opt/mlflow-webhook/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && cp -r webhook certs "$site" \
    && chmod 755 /opt/mlflow-webhook/bin/mlflow-webhook \
    && ln -s mlflow-webhook /opt/mlflow-webhook/bin/kubectl-mlflow \
    && /opt/mlflow-webhook/bin/python -m compileall -q "$site"
# Four fifths of the client library are generated code for each Kubernetes API. The webhook does not use it, because it sends
# raw JSON. The last two lines check that no needed file is missing; so does every test in a cluster.
RUN site=$(/opt/mlflow-webhook/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
    && rm -rf "$site/kubernetes/aio" "$site"/kubernetes/client/api/*_api.py "$site"/kubernetes/client/api/__pycache__ \
    && find "$site/kubernetes/client/models" -name 'v[0-9]*' -delete \
    && /opt/mlflow-webhook/bin/mlflow-webhook serve --help > /dev/null \
    && /opt/mlflow-webhook/bin/python -c 'import webhook.serving.assembly'

FROM ${PYTHON:-pinned-python}
ARG VERSION=0.1.0
ARG REVISION=
ARG SOURCE=
LABEL org.opencontainers.image.title="mlflow-webhook" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}" \
      org.opencontainers.image.source="${SOURCE}" \
      org.opencontainers.image.description="A mutating admission webhook that wires Kubeflow pods to an MLflow tracking server" \
      org.opencontainers.image.licenses="Apache-2.0"
RUN python -m pip uninstall --yes --quiet pip && rm -rf /usr/local/lib/python3.*/ensurepip
COPY --from=build /opt/mlflow-webhook /opt/mlflow-webhook
ENV PATH=/opt/mlflow-webhook/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
USER 65532:65532
EXPOSE 8443
ENTRYPOINT ["mlflow-webhook"]
CMD ["serve"]
