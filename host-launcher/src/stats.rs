//! `--stats`: the engine's counters and the launcher's own, readable or as JSON.

use crate::cli::StatsFormat;
use dbt_kernel::shared::Stats;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::sync::atomic::Ordering;
use std::time::Duration;

macro_rules! counters {
    ($stats:expr, $($name:ident),* $(,)?) => {{
        // Names every field, so that a new counter can't be forgotten here.
        let Stats { $($name),* } = $stats;
        [$((stringify!($name), $name.load(Ordering::Relaxed))),*]
    }};
}

/// Everything known at the end of a run.
pub struct Report<'a> {
    pub stats: &'a Stats,
    pub accel: &'static str,
    pub wall: Duration,
    pub tsc_hz: u64,
    pub exit_code: i32,
}

impl Report<'_> {
    fn counters(&self) -> Vec<(&'static str, u64)> {
        let counters = counters!(
            self.stats,
            blocks_translated,
            insns_translated,
            code_bytes,
            translate_cycles,
            translate_record_cycles,
            translate_optimise_cycles,
            translate_emit_cycles,
            translate_cold_cycles,
            cache_flushes,
            pages_invalidated,
            dispatches,
            lookups,
            lookup_exits,
            event_exits,
            state_exits,
            chains,
            regions,
            region_insns,
            region_bytes,
            region_cycles,
            region_rechecks,
            regions_dropped,
            tlb_misses,
            tlb_flushes,
            slow_accesses,
            device_accesses,
            exceptions,
            interrupts,
            host_mmu,
            fault_cost,
            window_faults,
            window_faults_device,
            window_faults_code,
            window_fills,
            window_fills_large,
            window_drops,
            window_replacements,
            window_protections,
            window_flushes,
            windows_made,
            windows_opened,
            windows_evicted,
            windows_in_use,
            window_tables,
            sites_aimed,
            waits,
            wait_cycles,
            run_cycles,
            blocks_run,
            insns_run,
            heap_used,
        );
        counters.to_vec()
    }

    #[must_use]
    pub fn render(&self, format: StatsFormat) -> String {
        match format {
            StatsFormat::Text => self.text(),
            StatsFormat::Json => self.json().to_string() + "\n",
        }
    }

    fn text(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(text, "accelerator        {:>16}", self.accel);
        let _ = writeln!(text, "wall time          {:>15.3}s", self.wall.as_secs_f64());
        let _ = writeln!(text, "max RSS            {:>13} KiB", max_rss_kib());
        for (name, value) in self.counters() {
            if name.ends_with("_cycles") {
                let seconds = value as f64 / self.tsc_hz.max(1) as f64;
                let _ = writeln!(
                    text,
                    "{:<18} {seconds:>15.3}s",
                    name.trim_end_matches("_cycles").replace('_', " ") + " time"
                );
            } else {
                let _ = writeln!(text, "{:<18} {value:>16}", name.replace('_', " "));
            }
        }
        text
    }

    fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("accel".into(), self.accel.into());
        map.insert("wall_seconds".into(), self.wall.as_secs_f64().into());
        map.insert("max_rss_kib".into(), max_rss_kib().into());
        map.insert("tsc_hz".into(), self.tsc_hz.into());
        map.insert("exit_code".into(), self.exit_code.into());
        map.extend(self.counters().into_iter().map(|(name, value)| (name.to_owned(), value.into())));
        Value::Object(map)
    }
}

fn max_rss_kib() -> i64 {
    // SAFETY: all-zero is a valid `rusage`, which the kernel fills.
    unsafe {
        let mut usage: libc::rusage = std::mem::zeroed();
        libc::getrusage(libc::RUSAGE_SELF, &raw mut usage);
        usage.ru_maxrss
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_formats_have_every_counter() {
        let stats = Stats::default();
        stats.insns_run.store(7, Ordering::Relaxed);
        let report = Report { stats: &stats, accel: "hosted", wall: Duration::from_secs(1), tsc_hz: 1, exit_code: 0 };
        let json: Value = serde_json::from_str(&report.render(StatsFormat::Json)).unwrap();
        assert_eq!(json["insns_run"], 7);
        assert_eq!(json["accel"], "hosted");
        let text = report.render(StatsFormat::Text);
        assert!(text.contains("insns run") && text.contains("run time") && text.contains("hosted"));
    }
}
