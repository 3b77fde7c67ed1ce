//! `mkinitramfs OUTPUT FILE=NAME...`: an initramfs with /dev/console and the given files, all executable.
//! NAME may hold directories, which are made: `mkinitramfs out.cpio busybox=bin/busybox init=init`.
//! `DIRECTORY=` is a whole tree, with its files' modes, all root's; what is neither file, directory nor symbolic link is left out, as
//! is what stands in its /dev.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::ExitCode;
use tests::initramfs::Archive;

fn build(output: &str, members: &[String]) -> Result<(), String> {
    let file = File::create(output).map_err(|e| format!("cannot write {output}: {e}"))?;
    let failed = |e: std::io::Error| format!("cannot write {output}: {e}");
    let mut archive = Archive::new(BufWriter::new(file));
    let mut directories = BTreeSet::from(["dev".to_owned()]);
    let mut files = Vec::new();
    for member in members {
        let (source, name) = member.split_once('=').ok_or_else(|| format!("'{member}' is not FILE=NAME"))?;
        if name.is_empty() {
            archive.tree(Path::new(source)).map_err(|e| format!("cannot copy {source}: {e}"))?;
            continue;
        }
        let data = std::fs::read(source).map_err(|e| format!("cannot read {source}: {e}"))?;
        let parents = Path::new(name).ancestors().skip(1).filter_map(Path::to_str).filter(|p| !p.is_empty());
        directories.extend(parents.map(str::to_owned));
        files.push((name, data));
    }
    for directory in &directories {
        archive.directory(directory).map_err(failed)?;
    }
    archive.character_device("dev/console", 5, 1).map_err(failed)?;
    archive.character_device("dev/null", 1, 3).map_err(failed)?;
    for (name, data) in files {
        archive.file(name, 0o755, &data).map_err(failed)?;
    }
    let mut out = archive.finish().map_err(failed)?;
    std::io::Write::flush(&mut out).map_err(failed)
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let result = match args.split_first() {
        Some((output, members)) => build(output, members),
        None => Err("usage: mkinitramfs OUTPUT FILE=NAME...".to_owned()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("error: {message}");
            ExitCode::from(2)
        }
    }
}
