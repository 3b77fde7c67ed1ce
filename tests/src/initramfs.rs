//! Writes initramfs images: cpio archives in the "newc" format that Linux unpacks into its root file system.
//!
//! The format: per member a header of "070701" and thirteen 8-digit hexadecimal numbers, the name with its zero byte, padding to
//! 4 bytes, the data, padding to 4 bytes; "TRAILER!!!" ends the archive (Linux: Documentation/driver-api/early-userspace).

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const DIRECTORY: u32 = 0o040_000;
const REGULAR: u32 = 0o100_000;
const SYMLINK: u32 = 0o120_000;
const CHARACTER_DEVICE: u32 = 0o020_000;

/// An archive being written.
pub struct Archive<W: Write> {
    out: W,
    inode: u32,
}

impl<W: Write> Archive<W> {
    pub fn new(out: W) -> Self {
        Self { out, inode: 1 }
    }

    fn member(&mut self, name: &str, mode: u32, device: (u32, u32), data: &[u8]) -> io::Result<()> {
        let too_large =
            || io::Error::new(io::ErrorKind::InvalidInput, format!("{name} is too large for a cpio archive"));
        let size = u32::try_from(data.len()).map_err(|_| too_large())?;
        let name_size = u32::try_from(name.len() + 1).map_err(|_| too_large())?;
        // inode, mode, uid, gid, links, mtime, size, device of the file (2), device it is (2), length of the name, checksum
        let fields = [self.inode, mode, 0, 0, 1, 0, size, 0, 0, device.0, device.1, name_size, 0];
        self.inode += 1;
        self.out.write_all(b"070701")?;
        for field in fields {
            write!(self.out, "{field:08x}")?;
        }
        self.out.write_all(name.as_bytes())?;
        self.out.write_all(&[0])?;
        self.pad(110 + name.len() + 1)?;
        self.out.write_all(data)?;
        self.pad(data.len())
    }

    fn pad(&mut self, len: usize) -> io::Result<()> {
        self.out.write_all(&[0; 3][..len.next_multiple_of(4) - len])
    }

    /// # Errors
    /// The writer's.
    pub fn directory(&mut self, name: &str) -> io::Result<()> {
        self.member(name, DIRECTORY | 0o755, (0, 0), &[])
    }

    /// What is below a directory, as the archive's root, with modes but without owners. Only files, directories and symbolic
    /// links, and nothing that stands in `dev`: devices are not a file system's to have.
    ///
    /// # Errors
    /// The file system's and the writer's; a name that is not UTF-8; a file of 4 GiB or more.
    pub fn tree(&mut self, root: &Path) -> io::Result<()> {
        self.subtree(root, "")
    }

    fn subtree(&mut self, directory: &Path, prefix: &str) -> io::Result<()> {
        let mut entries = fs::read_dir(directory)?.collect::<io::Result<Vec<_>>>()?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries {
            let text = |name: std::ffi::OsString| name.into_string().map_err(|_| io::ErrorKind::InvalidData);
            let name = format!("{prefix}{}", text(entry.file_name())?);
            let metadata = entry.metadata()?;
            let mode = metadata.permissions().mode() & 0o7777;
            if metadata.is_dir() {
                self.member(&name, DIRECTORY | mode, (0, 0), &[])?;
                if name != "dev" {
                    self.subtree(&entry.path(), &format!("{name}/"))?;
                }
            } else if metadata.is_file() {
                self.file(&name, mode, &fs::read(entry.path())?)?;
            } else if metadata.is_symlink() {
                self.symlink(&name, &text(fs::read_link(entry.path())?.into_os_string())?)?;
            }
        }
        Ok(())
    }

    /// # Errors
    /// The writer's; a file of 4 GiB or more.
    pub fn file(&mut self, name: &str, mode: u32, data: &[u8]) -> io::Result<()> {
        self.member(name, REGULAR | mode, (0, 0), data)
    }

    /// # Errors
    /// The writer's.
    pub fn symlink(&mut self, name: &str, target: &str) -> io::Result<()> {
        self.member(name, SYMLINK | 0o777, (0, 0), target.as_bytes())
    }

    /// # Errors
    /// The writer's.
    pub fn character_device(&mut self, name: &str, major: u32, minor: u32) -> io::Result<()> {
        self.member(name, CHARACTER_DEVICE | 0o600, (major, minor), &[])
    }

    /// Ends the archive and gives the writer back.
    ///
    /// # Errors
    /// The writer's.
    pub fn finish(mut self) -> io::Result<W> {
        self.member("TRAILER!!!", 0, (0, 0), &[])?;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_keeps_modes_and_links() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        for name in ["dev", "bin"] {
            fs::create_dir(at(name)).unwrap();
        }
        fs::write(at("dev/null"), "not a device").unwrap();
        fs::write(at("bin/tool"), "abc").unwrap();
        fs::set_permissions(at("bin/tool"), fs::Permissions::from_mode(0o750)).unwrap();
        std::os::unix::fs::symlink("bin/tool", at("link")).unwrap();
        let mut archive = Archive::new(Vec::new());
        archive.tree(dir.path()).unwrap();
        let text = String::from_utf8(archive.finish().unwrap()).unwrap();
        let mode = |name: &str| {
            let at = text.find(&format!("{name}\0")).expect("the name is there");
            u32::from_str_radix(&text[at - 96..at - 88], 16).unwrap()
        };
        assert_eq!([mode("bin/tool"), mode("link"), mode("dev") & !0o777], [0o100_750, 0o120_777, DIRECTORY]);
        assert!(text.contains("link\0") && text.contains("bin/tool") && !text.contains("dev/null"));
    }

    #[test]
    fn members_are_aligned_and_end_with_a_trailer() {
        let mut archive = Archive::new(Vec::new());
        archive.directory("dev").unwrap();
        archive.character_device("dev/console", 5, 1).unwrap();
        archive.file("init", 0o755, b"#!/bin/sh\n").unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let names: Vec<usize> = ["dev\0", "dev/console\0", "init\0", "TRAILER!!!\0"]
            .iter()
            .map(|name| text.find(name).expect("the name is there"))
            .collect();
        assert!(names.is_sorted());
        for at in names {
            assert_eq!(&text[at - 110..at - 104], "070701");
            assert_eq!((at - 110) % 4, 0);
        }
        assert!(text.contains("000081ed"), "a regular file with mode 0755");
    }
}
