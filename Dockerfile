# docker build -t reconstream .                            runs on the CPU
# docker build -t reconstream:gpu --build-arg GPU=yes .    runs on an NVIDIA GPU: docker run --gpus all ...
FROM python:3.12-slim

ARG GPU=no

WORKDIR /opt/reconstream
COPY constraints.txt ./
# PyPI's wheels of torch bring CUDA, gigabytes of it; PyTorch's own index has wheels without.
RUN if [ "$GPU" = yes ]; then index=https://pypi.org/simple; else index=https://download.pytorch.org/whl/cpu; fi \
    && pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$index" torch hatchling
COPY pyproject.toml README.md LICENSE CHANGELOG.md ./
COPY recon_core recon_core
COPY gadgets gadgets
COPY pipelines pipelines
RUN pip install --no-cache-dir --constraint constraints.txt --no-build-isolation '.[dicom]'

RUN useradd --create-home reconstream && install --directory --owner reconstream /journal
USER reconstream
WORKDIR /home/reconstream

EXPOSE 9002
VOLUME /journal
HEALTHCHECK --interval=60s --timeout=20s --start-period=30s \
    CMD ["python", "-c", "from pipelines.client import ask; assert ask('health') == 'ok'"]

# `docker stop` sends SIGTERM and kills ten seconds later; the server has ended by then, its clients told.
# A container's own loopback reaches nobody: who may connect is decided where the port is published.
ENTRYPOINT ["reconstream"]
CMD ["serve", "--host", "0.0.0.0", "--allow-remote", "--journal", "/journal"]
