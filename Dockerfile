# The environment of `make install`, and the package: what the line `container:` of the Snakefile names.
#
#     docker build --tag segmentation-pipeline:0.1.0 .
#     docker build --tag segmentation-pipeline:0.1.0 --build-arg TORCH_INDEX=https://download.pytorch.org/whl/cu128 .
FROM python:3.11-slim-bookworm

# PyTorch for CPUs; another index has it for GPUs
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu

WORKDIR /opt/segmentation-pipeline

# a layer of its own: it is by far the largest, and changes with the constraints alone
COPY constraints.txt ./
RUN python -m pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$TORCH_INDEX" torch

# the package as it is, so that its code is what the Snakefile beside it asks for
COPY pyproject.toml README.md LICENSE Snakefile config.yaml ./
COPY config config
COPY profiles profiles
COPY workflow workflow
COPY pipeline pipeline
COPY logger logger
RUN python -m pip install --no-cache-dir --constraint constraints.txt --extra-index-url "$TORCH_INDEX" --editable . ./logger

# folders that people work in belong to them: Snakemake and Matplotlib keep their caches where everybody may write, and
# Snakemake asks for a name, which a number given by --user does not have
ENV XDG_CACHE_HOME=/tmp/cache MPLCONFIGDIR=/tmp/matplotlib LOGNAME=segmentation

WORKDIR /work
CMD ["snakemake", "--snakefile", "/opt/segmentation-pipeline/Snakefile", "--cores", "all"]
