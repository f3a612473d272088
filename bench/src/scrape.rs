//! A service's own figures, from its `/metrics`.

use std::collections::BTreeMap;

use crate::load::LoadError;

/// Every sample of one scrape: name with labels, as it stands on the page, to value.
#[derive(Clone, Debug, Default)]
pub struct Sample(BTreeMap<String, f64>);

impl Sample {
    /// Asks a service's endpoint.
    ///
    /// # Errors
    /// [`LoadError::Http`] if it does not answer.
    pub async fn take(http: &reqwest::Client, url: &str) -> Result<Self, LoadError> {
        Ok(Self::parse(&http.get(url).send().await?.error_for_status()?.text().await?))
    }

    fn parse(page: &str) -> Self {
        let samples = page.lines().filter(|line| !line.starts_with('#'));
        let samples = samples.filter_map(|line| line.rsplit_once(' '));
        Self(samples.filter_map(|(name, value)| Some((name.to_owned(), value.parse().ok()?))).collect())
    }

    /// What was added since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let added = |(name, value): (&String, &f64)| (name.clone(), value - earlier.value(name));
        Self(self.0.iter().map(added).collect())
    }

    /// Adds another's values to these.
    pub fn add(&mut self, other: &Self) {
        for (name, value) in &other.0 {
            *self.0.entry(name.clone()).or_default() += value;
        }
    }

    /// One sample's value, 0 if there is none.
    #[must_use]
    pub fn value(&self, name: &str) -> f64 {
        self.0.get(name).copied().unwrap_or(0.0)
    }

    /// Stages of the histogram family `family`: (stage, how often, mean in milliseconds).
    #[must_use]
    pub fn stages(&self, family: &str) -> Vec<(String, f64, f64)> {
        let start = format!("{family}_seconds_count{{stage=\"");
        let stage = |(name, count): (&String, &f64)| {
            let stage = name.strip_prefix(&start)?.strip_suffix("\"}")?;
            let sum = self.value(&format!("{family}_seconds_sum{{stage=\"{stage}\"}}"));
            (*count > 0.0).then(|| (stage.to_owned(), *count, sum / count * 1e3))
        };
        self.0.iter().filter_map(stage).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stages_between_two_scrapes() {
        let page = |count: u32, sum: f64| {
            Sample::parse(&format!(
                "# HELP x_seconds Time.\nx_seconds_count{{stage=\"a\"}} {count}\nx_seconds_sum{{stage=\"a\"}} {sum}\n\
                 x_seconds_count{{stage=\"idle\"}} 7\ny_total 3\n# EOF\n"
            ))
        };
        let added = page(6, 1.5).since(&page(2, 0.5));
        assert_eq!(added.stages("x"), [("a".to_owned(), 4.0, 250.0)]);
        let mut twice = added.clone();
        twice.add(&added);
        assert_eq!(twice.value("x_seconds_count{stage=\"a\"}").to_bits(), 8f64.to_bits());
        assert_eq!(added.value("z").to_bits(), 0f64.to_bits());
    }
}
