//! The ordering engine: commonware simplex behind our own narrow trait.
