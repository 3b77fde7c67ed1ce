//! The guest's file system: the BusyBox initramfs with more files.

use crate::subject::root;
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use tests::initramfs::Archive;

/// Files to add: where they are, and their names in the guest.
pub type Members = Vec<(PathBuf, String)>;

/// BusyBox and the first process's script, as `scripts/make-initramfs` packs them.
fn base() -> Result<Members, String> {
    let busybox = root().join("target/guest/busybox");
    if !busybox.exists() {
        return Err(format!("{} is missing: run scripts/fetch-guest", busybox.display()));
    }
    Ok(vec![(busybox, "bin/busybox".into()), (root().join("scripts/initramfs/init"), "init".into())])
}

/// Writes the BusyBox initramfs with `members` added.
pub fn write(output: &Path, members: &Members) -> Result<(), String> {
    let all: Members = base()?.into_iter().chain(members.iter().cloned()).collect();
    pack(output, &all).map_err(|e| format!("cannot write {}: {e}", output.display()))
}

fn pack(output: &Path, members: &Members) -> io::Result<()> {
    let mut archive = Archive::new(BufWriter::new(File::create(output)?));
    let parents = |name: &str| -> Vec<String> {
        let parents = Path::new(name).ancestors().skip(1).filter_map(Path::to_str);
        parents.filter(|p| !p.is_empty()).map(str::to_owned).collect()
    };
    let directories: BTreeSet<String> =
        members.iter().flat_map(|(_, name)| parents(name)).chain(["dev".to_owned()]).collect();
    for directory in &directories {
        archive.directory(directory)?;
    }
    archive.character_device("dev/console", 5, 1)?;
    archive.character_device("dev/null", 1, 3)?;
    for (source, name) in members {
        archive.file(name, 0o755, &std::fs::read(source)?)?;
    }
    archive.finish()?.flush()
}
