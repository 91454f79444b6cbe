# A server for OVMS's flags, as a user without rights. docs/container.md tells how it is
# meant to be run.
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# pip and the build backend stay here; what is copied has only what a server imports. A
# virtual environment, since a distribution's own Python may refuse to be installed to.
RUN python3 -m venv /build && python3 -m venv --without-pip /opt/ovms_mp
WORKDIR /src
COPY locks/build.txt locks/
RUN /build/bin/pip install --require-hashes -r locks/build.txt
# runtime: slim. runtime-native: full, with mediapipe's native runtime.
ARG LOCK=runtime
COPY locks/${LOCK}.txt locks/
RUN /build/bin/pip --python /opt/ovms_mp/bin/python install --no-deps --require-hashes -r locks/${LOCK}.txt
COPY . .
RUN /build/bin/pip wheel --no-deps --no-build-isolation --wheel-dir /wheels . \
    && /build/bin/pip --python /opt/ovms_mp/bin/python install --no-deps /wheels/*.whl \
    && install -m 644 container/healthcheck.py /opt/ovms_mp/

FROM ${BASE_IMAGE}
COPY --from=build /opt/ovms_mp /opt/ovms_mp
WORKDIR /models
# OVMS's number, so that what is mounted for one can be read by the other. Nothing in the
# image belongs to it.
USER 5000:5000
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["/opt/ovms_mp/bin/python", "/opt/ovms_mp/healthcheck.py"]
ENTRYPOINT ["/opt/ovms_mp/bin/ovms-mp"]
