# perfload as an image: master, worker and target. docs/containers.md says how to run it.
#
# A tag can be moved to other bytes, a digest cannot. To pin one, write it behind the tag (...-bookworm@sha256:...);
# `docker buildx imagetools inspect python:3.12.13-slim-bookworm` shows it.
ARG PYTHON=python:3.12.13-slim-bookworm

FROM ${PYTHON} AS build
WORKDIR /build
COPY pyproject.toml README.md ./
COPY perfload perfload
# Nothing is compiled: every dependency has a wheel or is plain Python. The environment gets no pip: it is finished.
RUN pip wheel --no-cache-dir --wheel-dir wheels '.[all]' \
    && python -m venv --without-pip /opt/perfload \
    && pip --python /opt/perfload/bin/python install --no-cache-dir --no-index --find-links wheels 'perfload[all]'

FROM ${PYTHON}
LABEL org.opencontainers.image.title="perfload" \
      org.opencontainers.image.description="Load tests on Locust whose numbers can be trusted" \
      org.opencontainers.image.version="0.1.0"
ENV PATH=/opt/perfload/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
# Where a note of what has to be put back at a database survives the container, beside the records.
ENV XDG_STATE_HOME=/load/reports/.state
# The records of runs are all that is ever written. A new volume at /load/reports takes over the owner.
RUN groupadd --gid 10001 perfload \
    && useradd --uid 10001 --gid perfload --no-create-home --home-dir /load perfload \
    && mkdir -p /load/reports \
    && chown perfload:perfload /load/reports
COPY --from=build /opt/perfload /opt/perfload
COPY deploy/health.py /usr/local/bin/health
COPY deploy/entrypoint /usr/local/bin/entrypoint
WORKDIR /load
COPY perfload.toml ./
COPY locustfiles locustfiles
COPY shapes shapes
COPY data data
# By number: Kubernetes cannot tell from a name that it is not root.
USER 10001:10001
EXPOSE 5557 8089
# Well: a web UI or a target that answers, a master that workers can join, or a worker that has its master.
HEALTHCHECK --interval=10s --timeout=10s --start-period=10s --retries=3 \
    CMD ["health", "http://127.0.0.1:8089/", "http://127.0.0.1:8000/health", "listening:5557", "connected:5557"]
ENTRYPOINT ["entrypoint"]
CMD ["perfload", "--help"]
