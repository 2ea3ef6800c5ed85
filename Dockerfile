# Build: everything is installed into one virtual environment.
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/stopline
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY producers producers
COPY worker worker
RUN /opt/stopline/bin/pip install --no-cache-dir --disable-pip-version-check \
    -c constraints.txt '.[worker,gateway,events,outcomes]'

# Run: that environment, and a user without rights.
FROM python:3.13-slim
RUN useradd --system --uid 10001 --no-create-home --home-dir /nonexistent stopline
COPY --from=build /opt/stopline /opt/stopline
ENV PATH=/opt/stopline/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1
USER 10001:10001
WORKDIR /tmp
ENTRYPOINT ["stopline"]
CMD ["worker"]
