# Two images, from this checkout:
#
#   docker build --target cpu -t jaxstyle .
#   docker build --target cuda -t jaxstyle:cuda .
#   docker run --rm -u "$(id -u)" -v "$PWD:/data" jaxstyle --content photo.jpg --style painting.jpg
#   docker run --rm --gpus all -u "$(id -u)" -v "$PWD:/data" jaxstyle:cuda --content ...
#
# Neither was built or run where this was written, which has no container engine: please say in an
# issue what fails. The CUDA image needs the NVIDIA driver and container toolkit of its host alone:
# jax's wheels bring CUDA itself.
FROM python:3.12-slim AS source
WORKDIR /src
COPY pyproject.toml README.md LICENSE NOTICE ./
COPY jaxstyle jaxstyle
COPY weights weights

FROM source AS cuda
RUN pip install --no-cache-dir '.[cuda]' && mkdir -m 1777 /cache
ENV JAXSTYLE_CACHE=/cache HOME=/tmp
WORKDIR /data
ENTRYPOINT ["jaxstyle"]

# the last one is what is built without --target
FROM source AS cpu
COPY packaging/cpu packaging/cpu
RUN pip install --no-cache-dir . ./packaging/cpu && mkdir -m 1777 /cache
ENV JAXSTYLE_CACHE=/cache HOME=/tmp JAX_PLATFORMS=cpu
WORKDIR /data
ENTRYPOINT ["jaxstyle"]
