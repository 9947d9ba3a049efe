# limoe with its bundled model, on Debian's slim image: docker build -t limoe . && docker run -p 8080:8080 limoe
# What the build needs is listed in scripts/lib.sh, what the program needs is read off the program.

FROM debian:12-slim AS build
WORKDIR /src
COPY scripts/lib.sh scripts/
RUN bash -c 'set -euo pipefail && . scripts/lib.sh && need_packages "${build_packages[@]}"'
COPY . .
# libheif is not linked: decoders of pictures load it.
RUN scripts/build && strip build/limoe && { deploy/docker/runtime-packages build/limoe && echo libheif1; } >build/packages

FROM debian:12-slim
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
