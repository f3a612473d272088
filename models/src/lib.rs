//! Models as artefacts and sessions: manifests, pre- and post-processing, local backends.
