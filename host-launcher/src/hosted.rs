//! The hosted accelerator: the engine runs on a thread of the launcher's process, translated code included.

use crate::boot::{Images, Ram, Start};
use crate::host_cpu;
use crate::link::{ControlRef, Link, Window};
use crate::machine::{self, CODE_BYTES, Options, Running};
use crate::mapping::Mapping;
use dbt_kernel::platform::Platform;
use dbt_kernel::shared::Control;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

/// Translated code and helpers nest little; the engine's own recursion is bounded.
const STACK_BYTES: usize = 8 << 20;

struct Hosted(Arc<Link>);

impl Platform for Hosted {
    fn tsc(&self) -> u64 {
        host_cpu::tsc()
    }
    fn wait(&self, vcpu: u32) {
        self.0.wait(vcpu as usize);
    }
    fn drain(&self) {
        self.0.drain();
    }
}

/// An engine in this process.
pub struct HostedMachine {
    link: Arc<Link>,
    /// Dropping it lets the engine's thread free its memory: the launcher doesn't look at it any more.
    _release: Sender<()>,
}

impl HostedMachine {
    /// Starts the engine.
    ///
    /// # Errors
    /// The host has no memory or no thread for it.
    pub fn start(images: &Images, ram: &Arc<Ram>, start: &Start, options: Options) -> io::Result<Self> {
        let code = Arc::new(Mapping::new(CODE_BYTES, true)?);
        let shared = Arc::new(Mapping::new(size_of::<Control>(), false)?);
        let mut control = machine::control(images, ram, start, options);
        control.ram[0].engine_addr = ram.mapping.addr() as u64;
        control.code_base = code.addr() as u64;
        control.code_size = code.size() as u64;
        let control = ControlRef::place(&shared, 0, control);
        // Engine addresses are ours.
        let link = Arc::new(Link::new(control, vec![Window { engine: 0, size: u64::MAX, local: 0 }])?);
        let (release, released) = channel();
        let (engine_link, engine_ram) = (Arc::clone(&link), Arc::clone(ram));
        thread::Builder::new().name("vcpu0".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            run(&engine_link, &released);
            drop((code, engine_ram));
        })?;
        Ok(Self { link, _release: release })
    }
}

impl Running for HostedMachine {
    fn link(&self) -> &Arc<Link> {
        &self.link
    }
    /// Translated code in our own process can't be interrupted from outside; the process's end ends it.
    fn kick(&self) {}
}

/// The engine's thread.
fn run(link: &Arc<Link>, released: &Receiver<()>) {
    let platform = Hosted(Arc::clone(link));
    let control: &Control = &link.control;
    crate::crash::watch(std::ptr::from_ref(control));
    // A panic of the engine is an engine bug: reported, not propagated.
    let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let ended = |stopped| {
            crate::crash::watch(std::ptr::null());
            control.stopped.store(stopped, Ordering::SeqCst);
            link.end(None);
            // Until nobody can touch the vCPU's events word any more.
            let _ = released.recv();
        };
        // SAFETY: RAM and code cache are mappings that this thread keeps until the machine is gone; the launcher writes RAM
        // only while no engine runs, and never the code cache.
        unsafe { crate::engine::with_machine(control, &platform, ended) }
    }));
    match result {
        Ok(Ok(())) => {}
        Ok(Err(reason)) => link.end(Some(reason)),
        Err(_) => link.end(Some("the engine panicked".to_owned())),
    }
}
