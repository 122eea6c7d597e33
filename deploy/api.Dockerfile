# The API and the command line: no torch, no Ray.
FROM python:3.11-slim
WORKDIR /app
COPY pyproject.toml constraints.txt README.md ./
COPY sdcn_core sdcn_core
COPY service service
RUN pip install --no-cache-dir --constraint constraints.txt ".[api]" \
    && useradd --uid 10001 --create-home sdcn && mkdir /data && chown sdcn /data
USER sdcn
CMD ["python", "-m", "service"]
