//! The `guest` suite: what BusyBox's shell can run. Results are compared between subjects, so they must not depend on time.

use crate::job::{Clock, InGuest, Job};

const PROGRAMS: &[(&str, &str)] = &[
    ("sha256sum 64 MiB", "dd if=/dev/zero bs=1M count=64 2>/dev/null | sha256sum"),
    ("gzip | gunzip lines", "seq 1 100000 | gzip | gunzip | md5sum"),
    ("awk floating point", "awk 'BEGIN { for (i = 1; i < 1000000; i++) s += i / (i + 0.5); printf \"%.17g\", s }'"),
    (
        "awk strings",
        "awk 'BEGIN { for (i = 0; i < 200000; i++) { k = \"k\" (i % 1000); a[k] = a[k] + i }; print a[\"k7\"] }'",
    ),
    ("sort 20000 lines", "seq 1 20000 | awk '{ print ($1 * 7919) % 200003 }' | sort -n | md5sum"),
    ("1000 forks", "i=0; while [ $i -lt 1000 ]; do /bin/busybox true; i=$((i + 1)); done; echo $i"),
    ("shell loop", "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo $i"),
    ("dd 1 byte blocks", "dd if=/dev/zero of=/dev/null bs=1 count=1000000 2>/dev/null; echo done"),
];

pub fn jobs(wanted: impl Fn(&str, &str) -> bool) -> Vec<Job> {
    let programs = PROGRAMS.iter().filter(|(name, _)| wanted(name, "shell"));
    programs
        .map(|&(name, line)| Job {
            name: name.into(),
            group: "shell".into(),
            clock: Clock::Host,
            portable: true,
            guest: InGuest::Line(line.into()),
            native: None,
        })
        .collect()
}
