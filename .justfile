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

# The run of one seed, simulated: a whole committee with its faults and traitors.
sim SEED:
    DROPBEAR_SIM_FIRST={{SEED}} DROPBEAR_SIM_SEEDS=1 RUST_BACKTRACE=1 cargo test --release -p dropbear-coordinator --test simulation -- no_seed --nocapture

# So many seeds, unattended.
sim-many N="10000" FIRST="1000":
    DROPBEAR_SIM_FIRST={{FIRST}} DROPBEAR_SIM_SEEDS={{N}} RUST_BACKTRACE=0 cargo test --release -p dropbear-coordinator --test simulation -- no_seed --nocapture

# Ten minutes in which one coordinator after the other is killed, paused, or has its disk full; then five in which the network
# between them is cut, where that can be had.
chaos SECONDS="600":
    cargo run --release -- bench chaos --seconds {{SECONDS}}
    cargo run --release -- bench chaos --seconds 300 --network

# Fuzz one target of the certificates for a minute: decode, verify or structure.
fuzz TARGET:
    cd certificates && cargo fuzz run -s none {{TARGET}} -- -max_total_time=60
