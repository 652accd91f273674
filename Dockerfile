# One image for all of the project's processes: Airflow's parts, the receipt receiver, the migrations.
FROM python:3.11-slim-bookworm

RUN pip install --no-cache-dir uv \
    && useradd --system --uid 50000 --create-home --home-dir /home/fatoura fatoura \
    && install --directory --owner fatoura /srv/fatoura /srv/fatoura/landing /srv/fatoura/logs

WORKDIR /opt/fatoura
COPY requirements.txt ./
RUN uv pip install --system --no-cache --requirements requirements.txt

COPY pyproject.toml README.md LICENSE ./
COPY include include
RUN uv pip install --system --no-cache --no-deps --editable .
COPY plugins plugins
COPY dags dags
COPY --chmod=755 docker/entrypoint docker/stop-tasks /usr/local/bin/

ENV PYTHONUNBUFFERED=1 \
    AIRFLOW_HOME=/home/fatoura/airflow \
    FATOURA_HOME=/opt/fatoura \
    FATOURA_VAR=/srv/fatoura
USER 50000
ENTRYPOINT ["entrypoint"]
