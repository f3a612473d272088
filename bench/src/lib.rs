//! Measurements printed beside their baseline, taken in one run.
