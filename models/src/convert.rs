//! From published weights to artefacts.
