# syntax=docker/dockerfile:1

# On Alpine, Rust links the C library statically: the program needs nothing but the kernel.
FROM rust:1.95-alpine AS build
# musl-dev: SQLite and the cryptography are compiled from C.
RUN apk add --no-cache musl-dev ca-certificates
WORKDIR /src
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target \
    mkdir -p /out/data /out/etc/ssl/certs \
    && cargo build --release --locked \
    && cp target/release/bento-gateway /out/ \
    && cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/

FROM scratch
LABEL org.opencontainers.image.title="bento-gateway" \
      org.opencontainers.image.description="An authenticating reverse proxy for self-hosted BentoML services" \
      org.opencontainers.image.licenses="Apache-2.0"

# For TLS to the database.
COPY --from=build /out/etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /out/bento-gateway /bento-gateway
# A volume takes over the owner of what it covers, so that the numeric user can write into it.
COPY --from=build --chown=65532:65532 /out/data /data

# A container's loopback reaches nobody, so all listen on all of its addresses. What is reachable from outside is up
# to what is published; the management listener (8081) belongs on a network of the operators' own, the telemetry listener
# (9464) on that of their monitoring.
#
# Standard output of a container is its log, which others keep and read: the first token must not be printed there.
# Make it with `bento-gateway token create` inside the container instead.
ENV BENTO_GATEWAY__STORE__URL=sqlite:/data/bento-gateway.db \
    BENTO_GATEWAY__PROXY__LISTEN=0.0.0.0:8080 \
    BENTO_GATEWAY__MANAGEMENT__LISTEN=0.0.0.0:8081 \
    BENTO_GATEWAY__TELEMETRY__LISTEN=0.0.0.0:9464 \
    BENTO_GATEWAY__TOKENS__FIRST_TOKEN=false

# A number, because there is no /etc/passwd, and so that Kubernetes can tell that it is not root.
USER 65532:65532
# Where SQLite puts temporary files, as there is no /tmp.
WORKDIR /data
VOLUME /data
EXPOSE 8080 8081 9464
# On SIGTERM the gateway drains: give it the time (`stop_grace_period`) that the streams need.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=5s --retries=3 CMD ["/bento-gateway", "healthcheck"]
ENTRYPOINT ["/bento-gateway"]
CMD ["serve"]
