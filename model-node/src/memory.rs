//! How much memory there is for models.

/// Bytes that the system can give to new allocations without swapping, where it says so (`/proc/meminfo`).
#[must_use]
pub fn available_bytes() -> Option<u64> {
    available_in(&std::fs::read_to_string("/proc/meminfo").ok()?)
}

fn available_in(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_system_says_is_read() {
        assert_eq!(available_in("MemTotal: 9 kB\nMemAvailable:     123 kB\n"), Some(123 << 10));
        assert_eq!(available_in("MemTotal: 9 kB\n"), None);
        assert_eq!(available_in("MemAvailable: many kB\n"), None);
    }
}
