# Runs a server as an unprivileged user; flags are those of the command line.
#   docker run -v $PWD/models:/models:ro -p 9000:9000 ovms_mp --config_path /models/config.json --port 9000
ARG BASE_IMAGE=python:3.11-slim

FROM ${BASE_IMAGE} AS build
# A virtual environment, since a distribution's own Python may refuse to be installed to.
RUN python3 -m venv /opt/ovms_mp
COPY locks/runtime.txt /src/locks/runtime.txt
RUN /opt/ovms_mp/bin/pip install --no-cache-dir --require-hashes -r /src/locks/runtime.txt
COPY . /src
RUN /opt/ovms_mp/bin/pip install --no-cache-dir --no-deps --no-build-isolation /src

FROM ${BASE_IMAGE}
COPY --from=build /opt/ovms_mp /opt/ovms_mp
# OVMS's image uses the same number, so mounted directories keep their owners.
USER 5000:5000
WORKDIR /models
ENTRYPOINT ["/opt/ovms_mp/bin/ovms-mp"]
CMD ["--help"]
