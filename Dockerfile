# syntax=docker/dockerfile:1

FROM docker.io/library/rust:1.95-slim-bookworm AS build
# `release` builds faster, for trying.
ARG PROFILE=dist
WORKDIR /src
COPY . .
# The program, and what it loads: the C library and its like. `hosts` as everywhere: without that file the library would
# ask DNS first, also for localhost.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    mkdir -p /out/etc/ssl/certs \
    && cargo build --profile "$PROFILE" --locked \
    && cp "target/$PROFILE/bento-gateway" /out/ \
    && ldd /out/bento-gateway | grep -o '/[^ ]*' | xargs -I LIBRARY cp --parents --dereference LIBRARY /out/ \
    && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/ \
    && echo 'hosts: files dns' >/out/etc/nsswitch.conf \
    && mkdir -p --mode=0770 /state/data

FROM scratch
LABEL org.opencontainers.image.title="bento-gateway" \
      org.opencontainers.image.description="An authenticating reverse proxy for self-hosted BentoML services" \
      org.opencontainers.image.licenses="Apache-2.0"

COPY --from=build /out/ /
# In a file, which variables win over: BENTO_GATEWAY__STORE__URL_FILE could not be set beside a BENTO_GATEWAY__STORE__URL.
COPY packaging/image/config.toml /etc/bento-gateway/config.toml
# A volume takes over owner and mode of what it covers. Group 0 may write, too: platforms that choose a number for the user
# (OpenShift) leave it in that group. From a directory above, as the mode of what is named itself is not copied.
COPY --from=build --chown=65532:0 /state/ /

# A container's loopback reaches nobody, so all listen on all of its addresses. What is reachable from outside is up
# to what is published; the management listener (8081) belongs on a network of the operators' own, the telemetry listener
# (9464) on that of their monitoring.
#
# Standard output of a container is its log, which others keep and read: the first token must not be printed there.
# Make it with `bento-gateway token create` inside the container instead.
#
# XDG_DATA_HOME: where the store is with a configuration that says nothing of it.
ENV BENTO_GATEWAY_CONFIG=/etc/bento-gateway/config.toml \
    XDG_DATA_HOME=/data \
    BENTO_GATEWAY__PROXY__LISTEN=0.0.0.0:8080 \
    BENTO_GATEWAY__MANAGEMENT__LISTEN=0.0.0.0:8081 \
    BENTO_GATEWAY__TELEMETRY__LISTEN=0.0.0.0:9464 \
    BENTO_GATEWAY__TOKENS__FIRST_TOKEN=false

# A number, because there is no /etc/passwd, and so that Kubernetes can tell that it is not root.
USER 65532:0
# Where SQLite puts temporary files, as there is no /tmp.
WORKDIR /data
VOLUME /data
EXPOSE 8080 8081 9464
# On SIGTERM the gateway drains: give it the time (`stop_grace_period`) that the streams need.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/bento-gateway", "healthcheck"]
ENTRYPOINT ["/bento-gateway"]
CMD ["serve"]
