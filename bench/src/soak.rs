//! A market under steady load for a long time: what its services hold on to must stop growing.

use std::fmt;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval_at};

use crate::load::{LoadError, Question, Run, run};
use crate::process::Process;

/// Memory of the last third over that of the middle third, at most, before it counts as growing.
const GROWTH_MAX: f64 = 1.10;
/// Growth below this many bytes is an allocator's breathing.
const GROWTH_BYTES_MIN: f64 = 16e6;
/// Connections come and go; this many more descriptors are no leak.
const FDS_MORE_MAX: f64 = 16.0;
/// Samples that each third needs before anything is said of it.
const THIRD_SAMPLES_MIN: usize = 3;

/// What to do.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Asked again and again.
    pub question: Question,
    /// Clients at once.
    pub clients: usize,
    /// How long nobody asks, before the load begins.
    pub idle: Duration,
    /// How long the load lasts.
    pub duration: Duration,
    /// Between two looks at the services.
    pub sample_every: Duration,
    /// What a service remembers of a request, it forgets after this time: before three such times memory is not judged.
    pub memory_span: Duration,
    /// Who is watched.
    pub services: Vec<Process>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct Look {
    resident_bytes: f64,
    fds: f64,
}

#[derive(Clone, Debug)]
struct Line {
    name: String,
    /// The earliest, the middle and the last third, each as its median.
    thirds: Option<[Look; 3]>,
    idle_bytes: u64,
    cpu_s: f64,
    is_gone: bool,
}

/// What was seen.
#[derive(Clone, Debug)]
pub struct Report {
    /// CPU use of all services together while nobody asked, in cores.
    idle_cores: f64,
    answers: Run,
    lines: Vec<Line>,
    judges_memory: bool,
}

/// Runs the plan.
///
/// # Errors
/// [`LoadError`] at the first answer that is not a success.
pub async fn soak(plan: &Plan) -> Result<Report, LoadError> {
    let all_cpu = || plan.services.iter().map(Process::cpu_s).sum::<f64>();
    let unused = all_cpu();
    tokio::time::sleep(plan.idle).await;
    let idle_cores = (all_cpu() - unused) / plan.idle.as_secs_f64();
    let before: Vec<_> =
        plan.services.iter().map(|service| (service.cpu_s(), service.resident_bytes().unwrap_or(0))).collect();
    let mut looks = vec![Vec::new(); plan.services.len()];
    let load = run(&plan.question, plan.clients, plan.duration);
    tokio::pin!(load);
    let mut ticks = interval_at(Instant::now() + plan.sample_every, plan.sample_every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let answers = loop {
        tokio::select! {
            answers = &mut load => break answers?,
            _ = ticks.tick() => {
                for (service, looks) in plan.services.iter().zip(&mut looks) {
                    looks.extend(look(service));
                }
            }
        }
    };
    let lines = plan.services.iter().zip(looks).zip(before).map(|((service, looks), before)| Line {
        name: service.name.clone(),
        thirds: thirds(&looks),
        idle_bytes: before.1,
        cpu_s: service.cpu_s() - before.0,
        is_gone: service.resident_bytes().is_none(),
    });
    Ok(Report { idle_cores, answers, lines: lines.collect(), judges_memory: plan.duration >= 3 * plan.memory_span })
}

fn look(service: &Process) -> Option<Look> {
    Some(Look { resident_bytes: service.resident_bytes()? as f64, fds: service.open_fds()? as f64 })
}

fn thirds(looks: &[Look]) -> Option<[Look; 3]> {
    let length = looks.len() / 3;
    if length < THIRD_SAMPLES_MIN {
        return None;
    }
    let median = |third: usize, figure: fn(&Look) -> f64| {
        let mut figures: Vec<_> = looks[third * length..(third + 1) * length].iter().map(figure).collect();
        figures.sort_unstable_by(f64::total_cmp);
        figures[length / 2]
    };
    Some([0, 1, 2].map(|third| Look {
        resident_bytes: median(third, |look| look.resident_bytes),
        fds: median(third, |look| look.fds),
    }))
}

impl Line {
    fn problem(&self, judges_memory: bool) -> Option<&'static str> {
        if self.is_gone {
            return Some("it ended");
        }
        let Some([_, middle, last]) = self.thirds else { return Some("too few samples: soak for longer") };
        let grown = last.resident_bytes - middle.resident_bytes;
        if last.fds > middle.fds + FDS_MORE_MAX {
            Some("its file descriptors grow")
        } else if judges_memory && grown > GROWTH_BYTES_MIN && last.resident_bytes > middle.resident_bytes * GROWTH_MAX
        {
            Some("its memory grows")
        } else {
            None
        }
    }
}

impl Report {
    /// Whether nothing grew and nobody ended.
    #[must_use]
    pub fn is_flat(&self) -> bool {
        self.lines.iter().all(|line| line.problem(self.judges_memory).is_none())
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "before the load, all services together used {:.1} % of a core", self.idle_cores * 100.0)?;
        let run = &self.answers;
        writeln!(
            f,
            "{} certified answers in {:.0} s: {:.1}/s, p50 {:.1} ms, p99 {:.1} ms, none failed",
            run.latencies.len(),
            run.elapsed.as_secs_f64(),
            run.throughput,
            run.quantile_ms(0.5),
            run.quantile_ms(0.99)
        )?;
        writeln!(
            f,
            "{:<18} {:>11} {:>24} {:>18} {:>8}  (under load: medians of three thirds)",
            "SERVICE", "RSS MB IDLE", "RSS MB UNDER LOAD", "OPEN FDS", "CPU S"
        )?;
        for line in &self.lines {
            let problem = line.problem(self.judges_memory).unwrap_or("flat");
            let Some(thirds) = line.thirds else {
                writeln!(f, "{:<18} {problem}", line.name)?;
                continue;
            };
            let [memory, fds] = [
                thirds.map(|look| format!("{:.0}", look.resident_bytes / 1e6)).join(" > "),
                thirds.map(|look| format!("{:.0}", look.fds)).join(" > "),
            ];
            let idle = line.idle_bytes as f64 / 1e6;
            writeln!(f, "{:<18} {idle:>11.0} {memory:>24} {fds:>18} {:>8.1}  {problem}", line.name, line.cpu_s)?;
        }
        if !self.judges_memory {
            writeln!(f, "growth of memory is not judged: the soak was shorter than three request lifetimes")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(looks: impl Fn(usize) -> (f64, f64)) -> Line {
        let look = |(resident_bytes, fds)| Look { resident_bytes, fds };
        let looks: Vec<_> = (0..30).map(|place| look(looks(place))).collect();
        Line { name: "it".into(), thirds: thirds(&looks), idle_bytes: 0, cpu_s: 0.0, is_gone: false }
    }

    #[test]
    fn what_grows_is_named() {
        assert_eq!(line(|_| (50e6, 20.0)).problem(true), None);
        assert_eq!(line(|place| (50e6 + place as f64 * 3e6, 20.0)).problem(true), Some("its memory grows"));
        assert_eq!(line(|place| (50e6 + place as f64 * 3e6, 20.0)).problem(false), None);
        assert_eq!(line(|place| (50e6, 20.0 + 3.0 * place as f64)).problem(false), Some("its file descriptors grow"));
        // Filling up to a level in the beginning is no leak.
        assert_eq!(line(|place| (if place < 10 { 10e6 } else { 90e6 }, 20.0)).problem(true), None);
        assert_eq!(
            Line { thirds: None, ..line(|_| (0.0, 0.0)) }.problem(true),
            Some("too few samples: soak for longer")
        );
        assert_eq!(Line { is_gone: true, ..line(|_| (50e6, 20.0)) }.problem(true), Some("it ended"));
    }
}
