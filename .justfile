# What a developer types. Everything also works with plain cargo.

# Everything that CI checks.
ci:
    .ci/run

# Format, and apply what clippy can mend.
fix:
    cargo fmt --all
    cargo clippy --workspace --all-targets --fix --allow-dirty

# The whole story on this machine.
demo:
    cargo run --release -- demo

# A market to play with, in .market.
up:
    test -d .market || cargo run --release -- init .market
    cargo run --release -- up .market

# What certification costs, what a troublesome owner costs, and what a model node makes of its backend, each beside its baseline.
bench:
    cargo run --release -- bench overhead
    cargo run --release -- bench owners
    cargo run --release -- bench node
    cargo bench -p dropbear-certificates

# Half an hour under load: memory and file descriptors of every service must stop growing.
soak SECONDS="1800":
    cargo run --release -- bench soak --seconds {{SECONDS}}

# Fuzz one target of the certificates for a minute: decode, verify or structure.
fuzz TARGET:
    cd certificates && cargo fuzz run -s none {{TARGET}} -- -max_total_time=60
