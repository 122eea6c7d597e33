# A worker, a Ray node and the MLflow server: one image, three commands.
FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
COPY sdcn_core sdcn_core
COPY service service
COPY workers workers
RUN pip install --no-cache-dir --constraint constraints.txt ".[worker]" \
    && useradd --uid 10001 --create-home sdcn && mkdir /data && chown sdcn /data
USER sdcn
CMD ["python", "-m", "workers"]
