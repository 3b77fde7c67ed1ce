//! The guest's file system: the BusyBox initramfs with more files.

use crate::subject::root;
use ::tests::initramfs::Archive;
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// Files and symbolic links to add: where they are, and their names in the guest.
#[derive(Default)]
pub struct Members(Vec<(PathBuf, String)>);

impl Members {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn file(&mut self, source: PathBuf, name: String) {
        self.0.push((source, name));
    }

    /// Everything below `source`, except what lies at or below the names in `without`.
    pub fn tree(&mut self, source: &Path, name: &str, without: &[&str]) -> Result<(), String> {
        let failed = |e: io::Error| format!("cannot read {}: {e}", source.display());
        let mut entries: Vec<_> =
            fs::read_dir(source).map_err(failed)?.collect::<io::Result<Vec<_>>>().map_err(failed)?;
        entries.sort_by_key(std::fs::DirEntry::file_name);
        for entry in entries {
            let file_name = entry.file_name().to_string_lossy().into_owned();
            if without.contains(&file_name.as_str()) {
                continue;
            }
            let inner = format!("{name}/{file_name}");
            if entry.file_type().map_err(failed)?.is_dir() {
                let prefix = format!("{file_name}/");
                let below: Vec<&str> = without.iter().filter_map(|w| w.strip_prefix(prefix.as_str())).collect();
                self.tree(&entry.path(), &inner, &below)?;
            } else {
                self.file(entry.path(), inner);
            }
        }
        Ok(())
    }

    /// The files on this machine that an image is made of, the first process's among them.
    pub fn inputs(&self) -> Vec<PathBuf> {
        let own = self.0.iter().map(|(source, _)| source.clone());
        own.chain(base().0.into_iter().map(|(source, _)| source)).collect()
    }
}

/// BusyBox and the first process's script, as `scripts/make-initramfs` packs them.
fn base() -> Members {
    let file = |source: &str, name: &str| (root().join(source), name.to_owned());
    Members(vec![file("target/guest/busybox", "bin/busybox"), file("scripts/initramfs/init", "init")])
}

/// Writes the BusyBox initramfs with `members` added.
pub fn write(output: &Path, members: Members) -> Result<(), String> {
    let mut all = base();
    if let Some((missing, _)) = all.0.iter().find(|(source, _)| !source.exists()) {
        return Err(format!("{} is missing: run scripts/fetch-guest", missing.display()));
    }
    all.0.extend(members.0);
    pack(output, &all).map_err(|e| format!("cannot write {}: {e}", output.display()))
}

fn pack(output: &Path, members: &Members) -> io::Result<()> {
    let mut archive = Archive::new(BufWriter::new(File::create(output)?));
    let parents = |name: &str| -> Vec<String> {
        let parents = Path::new(name).ancestors().skip(1).filter_map(Path::to_str);
        parents.filter(|p| !p.is_empty()).map(str::to_owned).collect()
    };
    let directories: BTreeSet<String> =
        members.0.iter().flat_map(|(_, name)| parents(name)).chain(["dev".to_owned()]).collect();
    for directory in &directories {
        archive.directory(directory)?;
    }
    archive.character_device("dev/console", 5, 1)?;
    archive.character_device("dev/null", 1, 3)?;
    for (source, name) in &members.0 {
        let metadata = fs::symlink_metadata(source)?;
        if metadata.is_symlink() {
            archive.symlink(name, &fs::read_link(source)?.to_string_lossy())?;
        } else if metadata.is_file() {
            archive.file(name, metadata.permissions().mode() & 0o777, &fs::read(source)?)?;
        }
    }
    archive.finish()?.flush()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trees_keep_links_and_leave_out_what_is_unused() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        for name in ["a/b", "a/skipped/deep", "etc"] {
            fs::create_dir_all(at(name)).unwrap();
        }
        for name in ["a/b/file", "a/skipped/deep/file", "etc/file", "a/etc"] {
            fs::write(at(name), name).unwrap();
        }
        std::os::unix::fs::symlink("b/file", at("a/link")).unwrap();
        let mut members = Members::new();
        members.tree(directory.path(), "root", &["etc", "a/skipped"]).unwrap();
        let names: Vec<&str> = members.0.iter().map(|(_, name)| name.as_str()).collect();
        assert_eq!(names, ["root/a/b/file", "root/a/etc", "root/a/link"]);

        let output = at("image");
        pack(&output, &members).unwrap();
        let image = String::from_utf8_lossy(&fs::read(output).unwrap()).into_owned();
        for text in ["root\0", "root/a/b\0", "root/a/b/file\0", "root/a/link\0"] {
            assert!(image.contains(text), "{text:?}");
        }
        assert!(image.contains("0000a1ff"), "a symbolic link");
    }
}
