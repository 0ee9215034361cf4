# Every command that anyone needs. `just` is a convenience: CONTRIBUTING.md shows each in full.

# List the commands
default:
    @just --list

# What CI runs, all of it
check:
    .ci/run

# Start a broker on 127.0.0.1:9092 with its data in ./trestle-data
run *arguments:
    cargo run --release -- {{arguments}}

# All tests, or those whose name contains NAME
test *name:
    cargo test --workspace {{name}}

# rustfmt and clippy
lint:
    cargo fmt --all --check
    cargo clippy --workspace --all-targets -- -D warnings

# Real clients: all, or the named ones; `just compat kcat --against kafka` asks the oracle
compat *arguments:
    cargo build --release --bin trestle
    compat/run {{arguments}}

# The protocol tests against an Apache Kafka from Maven Central
oracle:
    KAFKA_BOOTSTRAP=$(compat/kafka/start) cargo test -p protocol-tests

# Figures beside their targets, with a raw append as the yardstick
bench *measures:
    cargo build --release --bin trestle
    cargo run --release -p trestle --example load -- {{measures}}

# Beside Apache Kafka: `just arena --record`
arena *arguments:
    cargo build --release --workspace --bins --examples
    compat/perf/run {{arguments}}

# The same for the store alone
bench-storage:
    cargo run --release -p trestle-storage --example storage_bench -- all

# The fuzz targets (frame, batch), or one of them, a minute each unless told
fuzz seconds="60" *target:
    .ci/fuzz {{seconds}} {{target}}

# Write the generated pages of docs/ anew
docs:
    UPDATE_DOCS=1 cargo test -p trestle docs

# kill -9 under load, many rounds
crash rounds="100":
    TRESTLE_CRASH_ROUNDS={{rounds}} cargo test --workspace kill

# The static binary, built and proven
static:
    .ci/static-binary
