//! Asking a gateway, and believing only what verifies.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context as _, bail};
use data_encoding::{BASE64, BASE64URL_NOPAD, HEXLOWER};
use dropbear_certificates::request::{RequestTerms, SignedRequest};
use dropbear_certificates::{Assurance, Outcome, SecretKey, Seed, Verified};
use dropbear_wire::files::read_key;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::cert::{Root, image_digest};
use crate::{Trust, Verdict};

/// What to ask, and whom.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// JPEG or PNG files.
    #[arg(required = true)]
    images: Vec<PathBuf>,
    /// The gateway's address.
    #[arg(long, default_value = "http://127.0.0.1:8000")]
    gateway: String,
    /// The model group.
    #[arg(long, default_value = "imagenet")]
    group: String,
    #[command(flatten)]
    trust: Trust,
    /// The assurance to demand: supported, decisive or robust; the group's default if not given.
    #[arg(long, value_parser = assurance)]
    assurance: Option<Assurance>,
    /// Your key file: requests are then signed, and nobody can claim that you asked, or how often.
    #[arg(long, value_name = "FILE")]
    key: Option<PathBuf>,
    /// A folder to save each answer (NAME.json) and certificate (NAME.cert) in.
    #[arg(long)]
    out: Option<PathBuf>,
}

/// One answer whose certificate verified.
pub(crate) struct Answer {
    pub(crate) verified: Verified,
    pub(crate) certificate: Vec<u8>,
    pub(crate) latency: Duration,
    response: Value,
}

/// Asks about one image.
pub(crate) struct Client {
    http: reqwest::Client,
    gateway: String,
    group: String,
    assurance: Option<Assurance>,
    key: Option<SecretKey>,
    pub(crate) root: Root,
}

/// A signed request stays open this long.
const SIGNED_LIFETIME_MS: u64 = 60_000;

#[derive(Deserialize)]
struct Failure {
    error: String,
    certificate: Option<String>,
}

impl Client {
    pub(crate) fn new(gateway: &str, group: &str, root: Root, assurance: Option<Assurance>) -> anyhow::Result<Self> {
        if !gateway.starts_with("http://") && !gateway.starts_with("https://") {
            bail!("--gateway is a URL like http://127.0.0.1:8000, not `{gateway}`");
        }
        let http = reqwest::Client::builder().timeout(Duration::from_secs(60)).build()?;
        let gateway = gateway.trim_end_matches('/').to_owned();
        Ok(Self { http, gateway, group: group.to_owned(), assurance, key: None, root })
    }

    /// Signs each request with this key.
    pub(crate) fn signing(self, key: Option<SecretKey>) -> Self {
        Self { key, ..self }
    }

    /// The request's parameters; signed, if there is a key.
    fn parameters(&self, image: &[u8], seed: &Seed, nonce: [u8; 16]) -> anyhow::Result<Value> {
        let mut parameters = json!({ "seed": BASE64URL_NOPAD.encode(&seed.0), "nonce": HEXLOWER.encode(&nonce) });
        if let Some(assurance) = self.assurance {
            parameters["assurance"] = json!(assurance.name());
        }
        let Some(key) = &self.key else { return Ok(parameters) };
        let charter = self.root.charter(&self.group)?;
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).context("this clock is before 1970")?;
        let terms = RequestTerms {
            genesis: self.root.digest(),
            group: self.group.clone(),
            input: image_digest(image),
            expiry_ms: u64::try_from(now.as_millis())? + SIGNED_LIFETIME_MS,
            demand: self.assurance.unwrap_or(charter.assurance),
        };
        parameters["expiry_ms"] = json!(terms.expiry_ms);
        let signed = SignedRequest::by_client(terms, key, seed, nonce);
        parameters["client_key"] = json!(HEXLOWER.encode(key.public().as_bytes()));
        parameters["client_signature"] = json!(HEXLOWER.encode(&signed.signature));
        Ok(parameters)
    }

    /// Asks, verifies, and checks that the answer is about this image and this request.
    pub(crate) async fn ask(&self, image: &[u8]) -> anyhow::Result<Answer> {
        let (seed, nonce) = (Seed(random()?), random::<16>()?);
        let parameters = self.parameters(image, &seed, nonce)?;
        let input = json!({ "name": "image", "shape": [1], "datatype": "BYTES", "data": [BASE64.encode(image)] });
        let body = json!({ "inputs": [input], "parameters": parameters });
        let started = Instant::now();
        let url = format!("{}/v2/models/{}/infer", self.gateway, self.group);
        let sent = self.http.post(&url).json(&body).send().await;
        let response = sent.with_context(|| format!("the gateway {} does not answer", self.gateway))?;
        let (status, bytes) = (response.status(), response.bytes().await?);
        let latency = started.elapsed();
        let response: Value = serde_json::from_slice(&bytes)
            .with_context(|| format!("the gateway's answer (status {status}) is not JSON"))?;
        let encoded = match response["parameters"]["certificate.0"].as_str() {
            Some(encoded) => encoded.to_owned(),
            None => {
                let failure: Failure = serde_json::from_value(response.clone())
                    .with_context(|| format!("the gateway answered {status} without certificate or error"))?;
                failure.certificate.with_context(|| failure.error)?
            }
        };
        let certificate = BASE64URL_NOPAD.decode(encoded.as_bytes()).context("the certificate is not base64url")?;
        let verified = self.root.verify(&certificate);
        let verified =
            verified.map_err(|refusal| anyhow::anyhow!("the gateway's certificate is refused: {refusal}"))?;
        self.is_mine(&verified, image, &seed, &nonce)?;
        Ok(Answer { verified, certificate, latency, response })
    }

    /// A certificate that verifies may still be somebody else's.
    fn is_mine(&self, verified: &Verified, image: &[u8], seed: &Seed, nonce: &[u8; 16]) -> anyhow::Result<()> {
        let shown = verified.attachments().request.as_ref();
        let shown = shown.context("the gateway's certificate does not show the request")?;
        let mine = verified.is_about(&image_digest(image)) == Some(true)
            && shown.opening.seed_digest == seed.digest()
            && shown.nonce == *nonce
            && verified.record().group == self.group
            && self.key.as_ref().is_none_or(|key| shown.key == key.public());
        if mine { Ok(()) } else { bail!("the gateway's certificate is valid, but answers another request") }
    }

    /// The answer's label, or what happened instead.
    pub(crate) fn label(&self, verified: &Verified) -> String {
        match (verified.record().outcome, verified.class()) {
            (Outcome::Agreed, Some(class)) => self.root.label(verified.charter(), class),
            (Outcome::Agreed, None) => "(votes not shown)".into(),
            (Outcome::NoAgreement, _) => "(no agreement)".into(),
        }
    }

    /// The tally, winner first: `3-1`, or `3 of 4` where not every owner's ballot was needed or came.
    pub(crate) fn tally(verified: &Verified) -> String {
        let (counts, _) = verified.record().counts();
        let votes: Vec<_> = counts.iter().map(ToString::to_string).collect();
        let (votes, counted, owners) = (votes.join("-"), counts.iter().sum::<usize>(), verified.record().owners);
        if counted == owners { votes } else { format!("{votes} of {owners}") }
    }
}

fn assurance(name: &str) -> Result<Assurance, String> {
    Assurance::from_name(name).ok_or_else(|| "supported, decisive or robust".into())
}

fn random<const N: usize>() -> anyhow::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).context("this system has no random numbers")?;
    Ok(bytes)
}

pub(crate) async fn run(args: Args, json: bool) -> anyhow::Result<Verdict> {
    let key = args.key.as_deref().map(read_key).transpose()?;
    let client = Client::new(&args.gateway, &args.group, Root::read(&args.trust)?, args.assurance)?.signing(key);
    if let Some(out) = &args.out {
        std::fs::create_dir_all(out).with_context(|| format!("cannot make {}", out.display()))?;
    }
    let mut verdict = Verdict::Good;
    for path in &args.images {
        let image = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        match client.ask(&image).await {
            Ok(answer) => {
                if answer.verified.record().outcome == Outcome::NoAgreement {
                    verdict = Verdict::Bad;
                }
                if let Some(out) = &args.out {
                    save(out, path, &answer)?;
                }
                print(&client, path, &answer, json);
            }
            Err(error) => {
                verdict = Verdict::Bad;
                if json {
                    println!("{}", json!({ "image": path, "error": format!("{error:#}") }));
                } else {
                    println!("{}: {error:#}", path.display());
                }
            }
        }
    }
    Ok(verdict)
}

fn save(out: &Path, image: &Path, answer: &Answer) -> anyhow::Result<()> {
    let name = image.file_name().context("an image without a name")?.to_string_lossy().into_owned();
    for (extension, bytes) in
        [("cert", answer.certificate.clone()), ("json", serde_json::to_vec_pretty(&answer.response)?)]
    {
        let path = out.join(format!("{name}.{extension}"));
        std::fs::write(&path, bytes).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

fn print(client: &Client, path: &Path, answer: &Answer, json: bool) {
    let (record, label) = (answer.verified.record(), client.label(&answer.verified));
    if json {
        let line = json!({
            "image": path, "label": label, "class": answer.verified.class(), "outcome": record.outcome.name(),
            "assurance": record.assurance.name(), "tally": Client::tally(&answer.verified),
            "request_id": record.request.to_string(), "seq": record.seq,
            "latency_ms": answer.latency.as_secs_f64() * 1e3, "verified": true,
        });
        println!("{line}");
        return;
    }
    println!("{}: {label}", path.display());
    println!(
        "  votes {}, {}; block {}; {:.0} ms; certificate verified",
        Client::tally(&answer.verified),
        record.assurance,
        record.seq,
        answer.latency.as_secs_f64() * 1e3
    );
}
