# limoe with its bundled model, on Debian's slim image: docker build -t limoe . && docker run -p 8080:8080 limoe
# What the build needs is listed in scripts/lib.sh, what the program needs is read off the program. Other targets:
#   docker build --target mpi -t limoe:mpi .     ranks on CPUs over Open MPI (--ranks)
#   docker build --target cuda -t limoe:cuda .   GPUs, and ranks on several over NCCL; x86-64, docker run --gpus all
# BuildKit, which is Docker's default, makes of what follows only what the target needs.

FROM debian:12-slim AS build
WORKDIR /src
COPY scripts/lib.sh scripts/
RUN bash -c 'set -euo pipefail && . scripts/lib.sh && need_packages "${build_packages[@]}"'
COPY . .
# libheif is not linked: decoders of pictures load it.
RUN scripts/build && strip build/limoe && { deploy/docker/runtime-packages build/limoe && echo libheif1; } >build/packages

FROM debian:12-slim AS cpu
COPY --from=build /src/build/packages /tmp/
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends </tmp/packages \
    && rm -rf /var/lib/apt/lists/* /tmp/packages \
    && groupadd --gid 10001 limoe \
    && useradd --uid 10001 --gid limoe --no-create-home --home-dir /var/lib/limoe --shell /usr/sbin/nologin limoe \
    && install -d -o limoe -g limoe -m 0750 /var/lib/limoe
COPY --from=build /src/build/limoe /usr/bin/
COPY --from=build /src/deploy/docker/healthcheck /usr/bin/limoe-healthcheck
COPY --from=build /src/models/pictograms /usr/share/limoe/models/pictograms
COPY --from=build /src/LICENSE /usr/share/doc/limoe/
COPY --from=build /usr/share/doc/libmicrohttpd-dev/copyright /usr/share/doc/limoe/libmicrohttpd.copyright
ENV LIMOE_HOST=0.0.0.0 \
    LIMOE_STATE_DIR=/var/lib/limoe \
    LIMOE_LOG_FORMAT=json
USER 10001:10001
VOLUME /var/lib/limoe
EXPOSE 8080
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=6s --start-period=60s CMD ["limoe-healthcheck", "ready"]
ENTRYPOINT ["limoe"]
CMD ["serve"]

FROM build AS build-mpi
# mpirun is what the program starts.
RUN { deploy/docker/runtime-packages build/limoe-mpi.so && echo openmpi-bin; } >build/packages-mpi

FROM cpu AS mpi
USER root
COPY --from=build-mpi /src/build/packages-mpi /tmp/
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive xargs apt-get install -y --no-install-recommends </tmp/packages-mpi \
    && rm -rf /var/lib/apt/lists/* /tmp/packages-mpi
COPY --from=build-mpi /src/build/limoe-mpi.so /usr/lib/limoe/
ENV LIMOE_MODULES=/usr/lib/limoe
USER 10001:10001

# Debian's own toolkit is too old. Of NVIDIA's image the toolkit and NCCL are taken, and nothing is built on it.
FROM nvidia/cuda:12.9.1-devel-ubuntu22.04 AS toolkit

FROM build AS build-cuda
COPY --from=toolkit /usr/local/cuda-12.9 /usr/local/cuda
COPY --from=toolkit /usr/include/nccl.h /usr/local/cuda/include/
COPY --from=toolkit /usr/lib/x86_64-linux-gnu/libnccl.so.2 /usr/local/cuda/lib64/libnccl.so
RUN scripts/build && strip --strip-unneeded build/limoe-cuda.so build/limoe-nccl.so

# CUDA's runtime is in limoe-cuda.so; the driver is the host's, which its container toolkit brings in.
FROM cpu AS cuda
USER root
COPY --from=toolkit /usr/lib/x86_64-linux-gnu/libnccl.so.2 /usr/lib/x86_64-linux-gnu/
COPY --from=build-cuda /src/build/limoe-cuda.so /src/build/limoe-nccl.so /usr/lib/limoe/
ENV LIMOE_MODULES=/usr/lib/limoe \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
USER 10001:10001

# What is built where no target is named.
FROM cpu
