//! The gateway: admits requests, fans them out, collects ballots and assembles certificates.
