# The acceptance suite; delivery/images.py lays out the context. For Lambda `python -m awslambdaric acceptance.lambda_handler.handler`, on Fargate
# `python -m acceptance`. The base is the application image's own, so that one digest is renewed.
ARG BASE_IMAGE=python:3.11-slim-bookworm@sha256:a36c24f9cbdf4fd0f52d67f0823eeac19c2028c637cecc392d97f980d4fec56b

FROM ${BASE_IMAGE} AS builder
ARG PIP_INDEX_URL
ARG PIP_EXTRA_INDEX_URL
ARG PIP_TRUSTED_HOST
ARG PIP_DEFAULT_TIMEOUT
COPY acceptance-requirements.txt ca-bundle.pe[m] /build/
RUN python -m venv /build/tools && python -m venv --without-pip /opt/venv
RUN if [ -e /build/ca-bundle.pem ]; then export PIP_CERT=/build/ca-bundle.pem; fi \
    && /build/tools/bin/python -m pip --python /opt/venv/bin/python --disable-pip-version-check --no-cache-dir \
        install --only-binary :all: --no-deps --requirement /build/acceptance-requirements.txt

FROM ${BASE_IMAGE}
LABEL org.opencontainers.image.title="topic-model-acceptance" \
      org.opencontainers.image.description="Checks a deployed environment of topic-model from outside"
COPY --from=builder /opt/venv /opt/venv
COPY acceptance /opt/acceptance/acceptance
# Lambda's folders are read-only but for /tmp, and its user is not this image's.
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/opt/acceptance PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /opt/acceptance
RUN useradd --system --uid 10002 --user-group --no-create-home --shell /usr/sbin/nologin acceptance
USER acceptance
ENTRYPOINT ["python", "-m", "acceptance"]
