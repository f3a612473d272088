//! One ordering replica: engine, ledger, attestor and API wired together.
