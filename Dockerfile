# syntax=docker/dockerfile:1

# Stage 1: the release binary. The Swift runtime is linked in; libpq, cairo and pango are not.
FROM swift:6.3-bookworm AS build
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libpq-dev libpango1.0-dev libcairo2-dev pkg-config \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY Package.swift ./
RUN swift package resolve
COPY Sources ./Sources
COPY Tests ./Tests
COPY bench ./bench
COPY migrations ./migrations
COPY openapi ./openapi
RUN swift build -c release --product turnpike --static-swift-stdlib \
    && install -D "$(swift build -c release --product turnpike --static-swift-stdlib --show-bin-path)/turnpike" \
        /out/usr/local/bin/turnpike

# Stage 2: what runs.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates curl libpq5 libstdc++6 tzdata \
        libpango-1.0-0 libpangocairo-1.0-0 libcairo2 fonts-dejavu-core fonts-droid-fallback \
    && rm -rf /var/lib/apt/lists/* \
    && groupadd --system --gid 10001 turnpike \
    && useradd --system --uid 10001 --gid turnpike --no-create-home --shell /usr/sbin/nologin turnpike
COPY --from=build /out/ /
USER 10001:10001
ENV TURNPIKE_HOST=0.0.0.0 \
    TURNPIKE_PORT=8080
EXPOSE 8080
STOPSIGNAL SIGTERM
# As the variables say: a flag is not seen here. The certificate is one of another name than 127.0.0.1.
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
    CMD curl --fail --silent --show-error --insecure --output /dev/null \
        "http${TURNPIKE_TLS_CERT:+s}://127.0.0.1:${TURNPIKE_PORT}/readyz" || exit 1
ENTRYPOINT ["/usr/local/bin/turnpike"]
CMD ["serve"]
