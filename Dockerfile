# Trestle alone in an empty image: one static binary and the root certificates for S3.
#
#   docker build -t trestle .
#   docker run -p 9092:9092 -p 8080:8080 -v trestle-data:/data trestle --advertise 127.0.0.1:9092
#
# The same binary without Docker: see "A static binary" in CONTRIBUTING.md.

FROM rust:1.95-bookworm AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates \
    && mkdir -p /out/data
WORKDIR /src
# Without rust-toolchain.toml, which would have rustup fetch another toolchain than the image's.
COPY Cargo.toml Cargo.lock ./
COPY storage storage
COPY broker broker
COPY protocol-tests protocol-tests
# --target keeps the flag away from build scripts and procedural macros, which must stay dynamic.
RUN RUSTFLAGS="-C target-feature=+crt-static" \
    cargo build --locked --profile dist --bin trestle --target "$(rustc -vV | sed -n 's/^host: //p')" \
    && cp target/*/dist/trestle /out/trestle

FROM scratch
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build --chown=65532:65532 /out/data /data
COPY --from=build /out/trestle /trestle
USER 65532:65532
VOLUME /data
EXPOSE 9092 8080
# Inside a container the default 127.0.0.1 would be reachable by nobody.
ENV TRESTLE_DATA=file:/data \
    TRESTLE_LISTEN=0.0.0.0:9092 \
    TRESTLE_HTTP=0.0.0.0:8080 \
    SSL_CERT_FILE=/etc/ssl/certs/ca-certificates.crt
ENTRYPOINT ["/trestle"]
