//! The whole story in one command: real photos, four owners' models, certificates, and things going wrong.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use dropbear_certificates::{Assurance, Certificate, Outcome};
use dropbear_model_node::zoo::Photo;
use tokio::process::Command;

use crate::cert::Root;
use crate::hardware::Hardware;
use crate::infer::Client;
use crate::up::Market;
use crate::{Verdict, init, layout, zoo};

/// The demonstration.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Keep the market in this folder instead of a temporary one.
    #[arg(long)]
    dir: Option<PathBuf>,
}

/// The coordinator and the model node that are killed to show that answers go on.
const VICTIMS: [&str; 2] = ["coordinator-3", "dogwood"];
/// Photos that are asked again after that.
const PHOTOS_AFTER_KILL: usize = 5;
/// A photo on which the models truly disagree.
const DISPUTED: &str = "rocket.jpg";

pub(crate) async fn run(args: Args) -> anyhow::Result<Verdict> {
    let started = Instant::now();
    let zoo = zoo::fetch_with_progress().await?;
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let dir = args.dir.unwrap_or_else(|| temporary.path().join("market"));
    let market = init::Args {
        dir: dir.clone(),
        owners: 4,
        coordinators: 4,
        group: init::Group::Imagenet,
        port_base: layout::free_port_base()?,
        hardware: Hardware::default(),
    };
    init::make(&market).await?;
    step("a market of four owners and four coordinators");
    let mut market = Market::start(&dir).await?;
    println!("  {} processes on this machine, gateway at {}", market.services.len(), market.url()?);
    let outcome = show(&mut market, &dir, &zoo.photos()).await;
    let stopped = market.stop().await;
    outcome?;
    stopped?;
    println!("\ndone in {:.0} s; everything is stopped", started.elapsed().as_secs_f64());
    Ok(Verdict::Good)
}

fn step(title: &str) {
    println!("\n== {title}");
}

async fn show(market: &mut Market, dir: &std::path::Path, photos: &[Photo]) -> anyhow::Result<()> {
    let genesis = layout::genesis(dir);
    let client = Client::new(&market.url()?, "imagenet", Root::of_genesis(&genesis)?, None)?;
    let certificates = dir.join("certificates");
    std::fs::create_dir(&certificates).context("cannot make a folder for certificates")?;

    step("real photos, classified by all four models, agreed on, certified");
    let (mut right, mut labelled, mut total) = (0, 0, Duration::ZERO);
    let mut files = Vec::new();
    println!("  {:<22} {:<26} {:<8} {:<9} {:>6}", "PHOTO", "LABEL", "VOTES", "ASSURANCE", "MS");
    for photo in photos.iter().filter(|photo| photo.class.is_some()) {
        let image = std::fs::read(&photo.path)?;
        let answer = client.ask(&image).await?;
        let name = file_name(photo);
        let file = certificates.join(format!("{name}.cert"));
        std::fs::write(&file, &answer.certificate)?;
        files.push((photo.path.clone(), file));
        let hit = answer.verified.class() == photo.class;
        (labelled, right, total) = (labelled + 1, right + usize::from(hit), total + answer.latency);
        println!(
            "  {name:<22} {:<26} {:<8} {:<9} {:>6.0}{}",
            client.label(&answer.verified),
            Client::tally(&answer.verified),
            answer.verified.record().assurance.name(),
            answer.latency.as_secs_f64() * 1e3,
            if hit { "" } else { "  (its publisher says otherwise)" }
        );
    }
    println!(
        "  {right} of {labelled} as their publisher labels them; {:.0} ms on average",
        total.as_secs_f64() * 1e3 / f64::from(labelled)
    );

    println!("  `3 of 4`: three equal ballots are robust already, so a fourth owner's was not needed");

    step("each certificate, verified offline by a process of its own");
    for (photo, file) in &files {
        ensure!(verifies(&genesis, file, photo).await?, "{} does not verify", file.display());
    }
    let bytes = files.first().map(|(_, file)| std::fs::metadata(file).map(|meta| meta.len())).transpose()?.unwrap_or(0);
    println!("  {} of {} verified, {bytes} bytes each with everything shown", files.len(), files.len());

    step("the same certificate for another request: one bit flipped");
    let (photo, file) = files.first().context("no photos")?;
    let mut tampered = std::fs::read(file)?;
    let request = Certificate::from_bytes(&tampered)?.record().request;
    let place =
        tampered.windows(32).position(|bytes| bytes == request.as_bytes()).context("a record without its id")?;
    tampered[place] ^= 1;
    let tampered_file = certificates.join("tampered.cert");
    std::fs::write(&tampered_file, tampered)?;
    let refusal = verify_output(&genesis, &tampered_file, photo).await?;
    ensure!(!refusal.0, "a tampered certificate verified");
    println!("  {}", refusal.1.lines().nth(1).unwrap_or_default().trim());

    step("a photo on which the models disagree");
    if let Some(photo) = photos.iter().find(|photo| file_name(photo) == DISPUTED) {
        let image = std::fs::read(&photo.path)?;
        let answer = client.ask(&image).await?;
        ensure!(answer.verified.record().outcome == Outcome::NoAgreement, "{DISPUTED} should be disputed");
        println!("  {DISPUTED}: votes {}, certified as: no agreement", Client::tally(&answer.verified));
        let lenient = Client::new(&market.url()?, "imagenet", Root::of_genesis(&genesis)?, Some(Assurance::Supported))?;
        let answer = lenient.ask(&image).await?;
        println!("  asked again for no more than `supported`: {}", lenient.label(&answer.verified));
    }

    step("one owner and one coordinator killed");
    for victim in VICTIMS {
        market.take(victim)?.kill().await?;
    }
    println!("  killed: {}", VICTIMS.join(", "));
    for photo in photos.iter().filter(|photo| photo.class.is_some()).take(PHOTOS_AFTER_KILL) {
        let answer = client.ask(&std::fs::read(&photo.path)?).await?;
        println!(
            "  {:<22} {:<26} {:<8} {:>6.0} ms",
            file_name(photo),
            client.label(&answer.verified),
            Client::tally(&answer.verified),
            answer.latency.as_secs_f64() * 1e3
        );
    }
    Ok(())
}

fn file_name(photo: &Photo) -> String {
    photo.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

async fn verifies(
    genesis: &std::path::Path,
    certificate: &std::path::Path,
    photo: &std::path::Path,
) -> anyhow::Result<bool> {
    Ok(verify_output(genesis, certificate, photo).await?.0)
}

/// Runs `dropbear cert verify` as anybody would: another process, with three files and nothing else.
async fn verify_output(
    genesis: &std::path::Path,
    certificate: &std::path::Path,
    photo: &std::path::Path,
) -> anyhow::Result<(bool, String)> {
    let output = Command::new(std::env::current_exe()?)
        .args(["cert", "verify"])
        .arg(certificate)
        .arg("--trust")
        .arg(genesis)
        .arg("--image")
        .arg(photo)
        .stderr(Stdio::inherit())
        .output()
        .await?;
    Ok((output.status.success(), String::from_utf8_lossy(&output.stdout).into_owned()))
}
