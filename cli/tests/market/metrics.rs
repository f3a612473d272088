//! What an operator scrapes from a market that works.

use std::process::Stdio;

use serde_json::Value;

use crate::asker::Asker;
use crate::harness::{Folder, Up, until};

/// What every service of a kind shows, with the lines that are not zero after one certified answer.
const SHOWN: [(u16, &str, &[&str]); 3] = [
    (
        2,
        "dropbear_gateway",
        &[
            "requests_total{group=\"identity\",certified=\"true\",outcome=\"agreed\"}",
            "stage_seconds_count{stage=\"queue\"}",
            "stage_seconds_count{stage=\"collect\"}",
            "stage_seconds_count{stage=\"order\"}",
            "stage_seconds_count{stage=\"certify\"}",
            "ballots_total{group=\"identity\",owner=\"alder\",result=\"counted\"}",
        ],
    ),
    (
        50,
        "dropbear_coordinator",
        &[
            "blocks_total",
            "ledger_bytes_total",
            "seq",
            "requests_total{result=\"recorded\"}",
            "stage_seconds_count{stage=\"store\"}",
            "views_finalized_total",
        ],
    ),
    (
        350,
        "dropbear_node",
        &[
            "requests_total{result=\"voted\"}",
            "batch_size_count",
            "stage_seconds_count{stage=\"infer\"}",
            "stage_seconds_count{stage=\"journal\"}",
        ],
    ),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_service_can_be_scraped() {
    let folder = Folder::init("identity");
    let up = Up::start(&folder).await;
    let asker = Asker::of(&folder);
    let mut ids = Vec::new();
    for number in 1..=3 {
        let request = asker.request(number);
        asker.ask(&request).await.certified();
        ids.push(request.signed.request.id().to_string());
    }
    for (offset, prefix, lines) in SHOWN {
        let url = format!("http://127.0.0.1:{}/metrics", folder.port_base + offset);
        let value = async |name: &str| {
            let page = reqwest::get(&url).await.unwrap().text().await.unwrap();
            let line = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).map(str::to_owned);
            assert!(!ids.iter().any(|id| page.contains(id)), "a request id is nobody else's business: {page}");
            line.and_then(|value| value.parse::<f64>().ok())
        };
        for line in lines {
            // The slowest owner may not have voted yet, nor the slowest coordinator stored.
            until(async || value(&format!("{prefix}_{line}")).await.is_some_and(|value| value > 0.0)).await;
        }
        for line in ["process_resident_memory_bytes", "process_open_fds", "process_cpu_seconds_total"] {
            assert!(value(line).await.is_some_and(|value| value > 0.0), "{line} of {url}");
        }
    }
    a_real_prometheus_takes_all_of_it(&folder).await;
    up.stop().await;
}

/// With `DROPBEAR_TEST_PROMETHEUS` set to the program, as CI does.
async fn a_real_prometheus_takes_all_of_it(folder: &Folder) {
    let Some(program) = std::env::var_os("DROPBEAR_TEST_PROMETHEUS") else {
        println!("skipped: DROPBEAR_TEST_PROMETHEUS names no prometheus");
        return;
    };
    let place = |first: u16| (0..4).map(move |place| first + place);
    let ports = std::iter::once(2).chain(place(50)).chain(place(350)).map(|offset| folder.port_base + offset);
    let targets: Vec<_> = ports.map(|port| format!("\"127.0.0.1:{port}\"")).collect();
    let config = folder.scratch().join("prometheus.yml");
    let text = format!(
        "global:\n  scrape_interval: 1s\nscrape_configs:\n  - job_name: dropbear\n    static_configs:\n      - targets: [{}]\n",
        targets.join(", ")
    );
    std::fs::write(&config, text).unwrap();
    let listen = format!("127.0.0.1:{}", folder.port_base + 3);
    let mut prometheus = tokio::process::Command::new(program)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", folder.scratch().join("prometheus").display()))
        .arg(format!("--web.listen-address={listen}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    let count = async |query: &str| -> Option<usize> {
        let url = format!("http://{listen}/api/v1/query");
        let answer = reqwest::get(reqwest::Url::parse_with_params(&url, [("query", query)]).ok()?).await.ok()?;
        Some(answer.json::<Value>().await.ok()?["data"]["result"].as_array()?.len())
    };
    until(async || count("up{job=\"dropbear\"} == 1").await == Some(9)).await;
    until(async || count("dropbear_gateway_stage_seconds_count").await == Some(4)).await;
    prometheus.kill().await.unwrap();
}
