//! Exceptions in ring 3, one of each kind that code there can raise: every one is reported, whatever was going on.

use super::*;
use dbt_kernel::shared::nucleus::{FLUSH, INVALIDATE, SET_ROOT};

/// How a virtual machine ended that started with some code in ring 3.
struct End {
    result: Result<(), String>,
    stopped: u32,
    log: String,
}

/// The entry of the tables for the page or large page at `virt`.
fn leaf(engine: &Mapping, virt: u64) -> *mut u64 {
    const PRESENT: u64 = 1;
    const LARGE: u64 = 1 << 7;
    let mut table = phys::PAGE_TABLES;
    for level in (0..4).rev() {
        let index = (virt >> (12 + 9 * level)) % 512;
        let entry = engine.at((table + index * 8) as usize, 8).unwrap().cast::<u64>();
        // SAFETY: an aligned entry of a table within the mapping; nothing runs.
        let value = unsafe { entry.read() };
        assert_ne!(value & PRESENT, 0, "{virt:#x} is mapped");
        if level == 0 || value & LARGE != 0 {
            return entry;
        }
        table = value & 0x000f_ffff_ffff_f000;
    }
    unreachable!("level 0 is the last")
}

/// Runs `code`, after `change` had its way with the memory.
fn run(code: &[u8], change: impl FnOnce(&Mapping)) -> End {
    let kvm = Kvm::new().unwrap();
    let vm = kvm.create_vm().unwrap();
    vm.set_tss_address(0xfffb_d000).unwrap();
    let engine = Arc::new(Mapping::new(phys::END as usize, false).unwrap());
    let ram = Arc::new(Ram::new(4 << 20).unwrap());
    slot(&vm, 0, 0, &engine).unwrap();
    slot(&vm, 1, phys::RAM, &ram.mapping).unwrap();
    let (root, _) = build_address_space(&engine, &Elf::parse(KERNEL).unwrap(), &ram).unwrap();
    engine.write(phys::CODE as usize, code);
    change(&engine);
    let control = ControlRef::place(&engine, phys::CONTROL as usize, Control::new());
    let vcpu = make_vcpu(&kvm, &vm, root, layout::CODE).unwrap();
    let link = Arc::new(Link::new(control, Vec::new()).unwrap());
    let kicked = Arc::new(AtomicBool::new(false));
    let mut run = Run { vcpu, vm, link: Arc::clone(&link), engine, _ram: ram, kicked };
    let result = run.until_stopped();
    let log = std::iter::from_fn(|| link.control.log.pop()).map(char::from).collect();
    End { result, stopped: link.control.stopped.load(Ordering::SeqCst), log }
}

fn kvm_works() -> bool {
    usable().inspect_err(|error| eprintln!("not tested: {error}")).is_ok()
}

/// `int3` with a service number and its first argument.
fn call(service: u32, argument: u64) -> Vec<u8> {
    let mut code = vec![0x48, 0xbf]; // mov rdi, imm64
    code.extend(argument.to_le_bytes());
    code.extend([0x48, 0x8d, 0x77, 0x01]); // lea rsi, [rdi + 1]
    code.push(0xb8); // mov eax, imm32
    code.extend(service.to_le_bytes());
    code.push(0xcc); // int3
    code
}

const UNDEFINED: [u8; 2] = [0x0f, 0x0b]; // ud2

#[test]
fn every_exception_is_reported() {
    if !kvm_works() {
        return;
    }
    let read_nucleus = [&[0x48, 0xb8][..], &layout::NUCLEUS.to_le_bytes(), &[0x8a, 0x00]].concat();
    let write_own_frame = [&[0x48, 0xb8][..], &layout::FAULT_FRAME.to_le_bytes(), &[0x88, 0x00]].concat();
    let run_data = [&[0x48, 0xb8][..], &layout::HEAP.to_le_bytes(), &[0xff, 0xe0]].concat();
    let non_canonical = [&[0x48, 0xb8][..], &(1u64 << 63 | 1 << 50).to_le_bytes(), &[0x8a, 0x00]].concat();
    let bad_stack = [&[0x48, 0xbc][..], &(1u64 << 50).to_le_bytes(), &[0x50]].concat();
    // What is raised, the vector, the error code.
    let cases: [(&str, &[u8], u64, u64); 14] = [
        ("division by zero", &[0x31, 0xc9, 0xf7, 0xf1], 0, 0),
        ("breakpoint", &[0x31, 0xc0, 0xcc], 3, 0),
        ("undefined instruction", &UNDEFINED, 6, 0),
        ("stack at a bad address", &bad_stack, 12, 0),
        ("privileged instruction", &[0xf4], 13, 0),
        ("bad address", &non_canonical, 13, 0),
        ("read of nothing", &[0x31, 0xc0, 0x8a, 0x00], 14, 4),
        ("write to nothing", &[0x31, 0xc0, 0x88, 0x00], 14, 6),
        ("read of the nucleus", &read_nucleus, 14, 5),
        ("write to the exception frame", &write_own_frame, 14, 7),
        ("execution of data", &run_data, 14, 0x15),
        // fninit; fldcw [rsp] with nothing masked; fld1; fldz; fdivp; fwait
        ("x87 exception", &[0xdb, 0xe3, 0x6a, 0x00, 0xd9, 0x2c, 0x24, 0xd9, 0xe8, 0xd9, 0xee, 0xde, 0xf9, 0x9b], 16, 0),
        // pushf; or dword [rsp], 1 << 18; popf; mov eax, [rsp + 1]
        ("alignment check", &[0x9c, 0x81, 0x0c, 0x24, 0x00, 0x00, 0x04, 0x00, 0x9d, 0x8b, 0x44, 0x24, 0x01], 17, 0),
        // push 0; ldmxcsr [rsp]; xorps xmm0, xmm0; divss xmm0, xmm0
        ("SIMD exception", &[0x6a, 0x00, 0x0f, 0xae, 0x14, 0x24, 0x0f, 0x57, 0xc0, 0xf3, 0x0f, 0x5e, 0xc0], 19, 0),
    ];
    for (name, code, vector, error) in cases {
        let end = run(code, |_| {});
        assert_eq!(end.result, Ok(()), "{name}: {}", end.log);
        assert_eq!(end.stopped, stopped::ENGINE_BUG, "{name}");
        let wanted = format!("exception {vector} (error {error:#x}) in ring 3");
        assert!(end.log.contains(&wanted), "{name}: not '{wanted}' but:\n{}", end.log);
    }
}

#[test]
fn calls_of_the_nucleus_return() {
    if !kvm_works() {
        return;
    }
    for code in [call(INVALIDATE, layout::HEAP), call(FLUSH, 0), call(SET_ROOT, phys::PAGE_TABLES)] {
        let end = run(&[&code[..], &UNDEFINED].concat(), |_| {});
        let rip = layout::CODE + code.len() as u64;
        let wanted = format!("exception 6 (error 0x0) in ring 3 at rip {rip:#x}");
        assert!(end.log.contains(&wanted), "not '{wanted}' but:\n{}", end.log);
    }
}

#[test]
fn an_exception_in_the_report_of_one_ends_the_machine() {
    if !kvm_works() {
        return;
    }
    // Without its control block the handler itself faults.
    let end = run(&UNDEFINED, |engine| {
        // SAFETY: an entry of the tables; nothing runs.
        unsafe { leaf(engine, layout::CONTROL).write(0) };
    });
    let report = end.result.unwrap_err();
    assert!(report.contains("an exception within the report of an exception"), "{report}");
    assert_eq!(end.stopped, stopped::RUNNING);
}
