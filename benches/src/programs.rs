//! What the `guest` suite runs in the guest's shell. Outputs are compared between subjects, so they must not depend on time.

/// One command line for BusyBox's shell.
pub struct Program {
    pub name: &'static str,
    pub command: &'static str,
}

pub const ALL: &[Program] = &[
    Program { name: "sha256sum 64 MiB", command: "dd if=/dev/zero bs=1M count=64 2>/dev/null | sha256sum" },
    Program { name: "gzip | gunzip lines", command: "seq 1 100000 | gzip | gunzip | md5sum" },
    Program {
        name: "awk floating point",
        command: "awk 'BEGIN { for (i = 1; i < 1000000; i++) s += i / (i + 0.5); printf \"%.17g\", s }'",
    },
    Program {
        name: "awk strings",
        command: "awk 'BEGIN { for (i = 0; i < 200000; i++) { k = \"k\" (i % 1000); a[k] = a[k] + i }; print a[\"k7\"] }'",
    },
    Program {
        name: "sort 20000 lines",
        command: "seq 1 20000 | awk '{ print ($1 * 7919) % 200003 }' | sort -n | md5sum",
    },
    Program {
        name: "1000 forks",
        command: "i=0; while [ $i -lt 1000 ]; do /bin/busybox true; i=$((i + 1)); done; echo $i",
    },
    Program { name: "shell loop", command: "i=0; while [ $i -lt 200000 ]; do i=$((i + 1)); done; echo $i" },
    Program {
        name: "dd 1 byte blocks",
        command: "dd if=/dev/zero of=/dev/null bs=1 count=1000000 2>/dev/null; echo done",
    },
];
