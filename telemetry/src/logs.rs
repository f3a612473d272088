//! Structured logs on standard error.

use std::io::IsTerminal as _;

/// What is logged unless `DROPBEAR_LOG` says otherwise.
const FILTER: &str = "info,commonware=warn,ort=warn";

/// Sends this process's logs to standard error. `DROPBEAR_LOG` filters them; `DROPBEAR_LOG_FORMAT=json` is for machines.
pub fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::try_from_env("DROPBEAR_LOG").unwrap_or_else(|_| FILTER.into());
    // Colours are for terminals, not for files.
    let colours = std::io::stderr().is_terminal();
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_ansi(colours).with_writer(std::io::stderr);
    if std::env::var("DROPBEAR_LOG_FORMAT").is_ok_and(|format| format == "json") {
        logs.json().init();
    } else {
        logs.init();
    }
}
