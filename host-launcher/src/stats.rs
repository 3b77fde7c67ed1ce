//! `--stats`: the engine's counters and the launcher's own, readable or as JSON.

use crate::cli::StatsFormat;
use dbt_kernel::shared::Stats;
use serde_json::{Map, Value};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};
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
            chain_exits,
            hot_exits,
            recheck_exits,
            chains,
            regions,
            region_insns,
            region_bytes,
            region_cycles,
            region_rechecks,
            regions_grown,
            regions_dropped,
            regions_remade,
            tlb_misses,
            tlb_flushes,
            tlb_space_flushes,
            tlb_page_flushes,
            slow_accesses,
            device_accesses,
            undefined_insns,
            faults_load,
            faults_store,
            faults_fetch,
            faults_alignment,
            faults_bus,
            interrupts,
            host_mmu,
            fault_cost,
            nucleus_cost,
            window_faults,
            window_faults_device,
            window_faults_code,
            window_faults_guest,
            window_fills,
            window_fills_large,
            window_drops,
            window_replacements,
            window_protections,
            window_flushes,
            windows_made,
            windows_opened,
            windows_closed,
            windows_evicted,
            windows_in_use,
            window_tables,
            sites_aimed,
            waits,
            wait_cycles,
            run_cycles,
            vm_exits_wait,
            vm_exits_drain,
            vm_exits_other,
            blocks_run,
            insns_run,
            accesses_run,
            heap_used,
        );
        counters.to_vec()
    }

    /// The part of the guest's accesses that translated code made itself, through the software TLB or a window.
    fn hit_rate(&self) -> Option<f64> {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let (all, slow) = (load(&self.stats.accesses_run), load(&self.stats.slow_accesses));
        (all > 0.0).then(|| (1.0 - slow / all).max(0.0))
    }

    /// What the nucleus took, as it was measured at start: page faults of accesses through windows, and calls.
    fn reflection_seconds(&self) -> f64 {
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed) as f64;
        let stats = self.stats;
        let calls = [&stats.window_drops, &stats.window_replacements, &stats.window_protections, &stats.window_flushes];
        let cycles = load(&stats.window_faults) * load(&stats.fault_cost)
            + calls.into_iter().map(load).sum::<f64>() * load(&stats.nucleus_cost);
        cycles / self.tsc_hz.max(1) as f64
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
        if let Some(rate) = self.hit_rate() {
            let _ = writeln!(text, "access hit rate    {:>15.4}%", rate * 100.0);
        }
        let _ = writeln!(text, "reflection time    {:>15.3}s", self.reflection_seconds());
        text
    }

    fn json(&self) -> Value {
        let mut map = Map::new();
        map.insert("accel".into(), self.accel.into());
        map.insert("wall_seconds".into(), self.wall.as_secs_f64().into());
        map.insert("max_rss_kib".into(), max_rss_kib().into());
        map.insert("tsc_hz".into(), self.tsc_hz.into());
        map.insert("exit_code".into(), self.exit_code.into());
        map.insert("hit_rate".into(), self.hit_rate().into());
        map.insert("reflection_seconds".into(), self.reflection_seconds().into());
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

    #[test]
    fn rates_and_costs_come_from_counters() {
        let stats = Stats::default();
        let report = Report { stats: &stats, accel: "kvm", wall: Duration::from_secs(1), tsc_hz: 1000, exit_code: 0 };
        assert_eq!((report.hit_rate(), report.reflection_seconds()), (None, 0.0));
        stats.accesses_run.store(200, Ordering::Relaxed);
        stats.slow_accesses.store(50, Ordering::Relaxed);
        for (counter, value) in [
            (&stats.window_faults, 3),
            (&stats.fault_cost, 500),
            (&stats.window_drops, 2),
            (&stats.window_flushes, 3),
            (&stats.nucleus_cost, 100),
        ] {
            counter.store(value, Ordering::Relaxed);
        }
        assert_eq!((report.hit_rate(), report.reflection_seconds()), (Some(0.75), 2.0));
        assert!(report.render(StatsFormat::Text).contains("75.0000%"));
    }
}
