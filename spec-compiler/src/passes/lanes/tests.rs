//! The pass alone: what it makes of loops, what it leaves, and that random loops compute the same at every level.

use crate::passes::tests::{Random, State, compare};
use crate::passes::{cse, dead, fold, promote, times};
use crate::ssa::{BinOp, Body, CmpOp, Op, StateId, Ty, UnOp, ValueId, VarId};
use crate::testing::{Builder, bits, model};

/// State elements of the model: vectors, a number.
const X: u32 = 5;
const Y: u32 = 6;
const B: u32 = 1;

/// `x = for i in 0..n { r = set_lane(e, r, i, turn(i, r)) }`, from zeros.
fn over_lanes(e: u32, n: i64, turn: impl FnOnce(&mut Builder, ValueId, VarId) -> ValueId) -> Body {
    over_lanes_from(e, n, None, turn)
}

/// The same from lane `first` of `y` on, if there is one.
fn over_lanes_from(
    e: u32,
    n: i64,
    first: Option<i64>,
    turn: impl FnOnce(&mut Builder, ValueId, VarId) -> ValueId,
) -> Body {
    let mut b = Builder::new();
    let start = if first.is_some() { b.get(Y, 128) } else { b.konst(128, 0) };
    let first = first.map(|first| b.int(first));
    let r = b.var("r", bits(128), start);
    let (lo, hi, width) = (b.int(0), b.int(n), b.int(i64::from(e)));
    b.for_(lo, hi, |b, i| {
        let x = turn(b, i, r);
        let before = b.read(r);
        let at = first.map_or(i, |first| b.op(Op::IntAdd, &[first, i], Ty::Int));
        let after = b.op(Op::SetLane, &[width, before, at, x], bits(128));
        b.assign(r, after);
    });
    let all = b.read(r);
    b.set(X, all);
    b.finish()
}

fn lane(b: &mut Builder, e: u32, v: ValueId, i: ValueId) -> ValueId {
    let width = b.int(i64::from(e));
    b.op(Op::Lane, &[width, v, i], bits(e))
}

/// What the pass makes of it, cleaned up; `None` if nothing.
fn vectorised(mut body: Body) -> Option<String> {
    let m = model();
    times::infer(&m, &mut body);
    if !super::run(&m, &mut body) {
        return None;
    }
    times::infer(&m, &mut body);
    crate::verify::verify(&m, &body).expect("well formed");
    for _ in 0..4 {
        fold::run(&m, &mut body);
        promote::run(&m, &mut body);
        cse::run(&m, &mut body, true);
        dead::run(&m, &mut body, &[]);
    }
    times::infer(&m, &mut body);
    // Values by the order they are met in.
    let text = crate::print::body(&m, &body);
    let mut names = Vec::new();
    let mut out = String::new();
    for word in text.split_inclusive(|c: char| !c.is_ascii_alphanumeric()) {
        let end = word.len() - usize::from(!word.ends_with(|c: char| c.is_ascii_alphanumeric()));
        let name = word[..end].strip_prefix('v').filter(|n| n.parse::<u32>().is_ok());
        match name {
            Some(name) => {
                let n = names.iter().position(|known| *known == name).unwrap_or_else(|| {
                    names.push(name);
                    names.len() - 1
                });
                out.push_str(&format!("v{n}{}", &word[end..]));
            }
            None => out.push_str(word),
        }
    }
    Some(out)
}

#[test]
fn an_operation_on_each_lane_is_one_on_all() {
    let body = over_lanes(32, 4, |b, i, _| {
        let (a, c) = (b.get(X, 128), b.get(B, 32));
        let x = lane(b, 32, a, i);
        b.op(Op::Bin(BinOp::Add), &[x, c], bits(32))
    });
    let want = "\
v0: int = 32
v1: bits(128) ~ load x
v2: bits(32) ~ load b
v3: bits(128) ~ splat v0, v2
v4: bits(128) ~ v_add v0, v1, v3
store x v4
";
    assert_eq!(vectorised(body).as_deref(), Some(want));
}

#[test]
fn lanes_are_widened_and_narrowed() {
    // Halves of 64 bits: the upper half of the source, the low half of the result.
    let body = over_lanes(16, 4, |b, i, _| {
        let a = b.get(X, 128);
        let four = b.int(4);
        let at = b.op(Op::IntAdd, &[four, i], Ty::Int);
        let x = lane(b, 16, a, at);
        let wide = b.op(Op::Zext, &[x], bits(32));
        let product = b.op(Op::Bin(BinOp::Mul), &[wide, wide], bits(32));
        let k = b.int(16);
        b.op(Op::Extract, &[product, k], bits(16))
    });
    let text = vectorised(body).expect("it is a loop over lanes");
    let want = "\
v0: int = 16
v1: bits(128) ~ load x
v2: int = 8
v3: bits(128) ~ ext v1, v1, v2
v4: bits(128) ~ v_zextlow v0, v3
v5: int = 32
v6: bits(128) ~ v_mul v5, v4, v4
v7: bits(128) ~ v_shr v5, v6, v0
v8: bits(128) ~ v_narrow v5, v7
v9: bits(128) = 0xffffffffffffffff
v10: bits(128) ~ and v8, v9
store x v10
";
    assert_eq!(text, want);
}

#[test]
fn conditions_become_masks() {
    let body = over_lanes(32, 4, |b, i, _| {
        let a = b.get(X, 128);
        let x = lane(b, 32, a, i);
        let limit = b.konst(32, 100);
        let less = b.op(Op::Cmp(CmpOp::Ult), &[x, limit], Ty::Bool);
        let zero = b.konst(32, 0);
        b.op(Op::Select, &[less, x, zero], bits(32))
    });
    let text = vectorised(body).expect("it is a loop over lanes");
    assert!(text.contains("v_cmpuge") && text.contains("and") && !text.contains("select"), "{text}");
}

#[test]
fn a_loop_within_a_turn_is_one_over_vectors() {
    let body = over_lanes(32, 4, |b, i, _| {
        let a = b.get(X, 128);
        let x = lane(b, 32, a, i);
        let own = b.var("x", bits(32), x);
        let (lo, hi) = (b.int(0), b.int(9));
        b.for_(lo, hi, |b, _| {
            let x = b.read(own);
            let square = b.op(Op::Bin(BinOp::Mul), &[x, x], bits(32));
            b.assign(own, square);
        });
        b.read(own)
    });
    let text = vectorised(body).expect("it is a loop over lanes");
    assert_eq!(text.matches("for ").count(), 1, "{text}");
    assert!(text.contains("v_mul"), "{text}");
}

#[test]
fn bits_ored_into_state_are_ored_at_once() {
    let body = over_lanes(32, 4, |b, i, _| {
        let a = b.get(X, 128);
        let x = lane(b, 32, a, i);
        let wide = b.op(Op::Zext, &[x], bits(64));
        let old = b.get(B, 64);
        let new = b.op(Op::Bin(BinOp::Or), &[old, wide], bits(64));
        b.set(B, new);
        x
    });
    let text = vectorised(body).expect("it is a loop over lanes");
    assert_eq!((text.matches("store b").count(), text.matches("load b").count()), (1, 1), "{text}");
    assert!(!text.contains("for "), "{text}");
}

/// `x`'s lanes, and what `with` makes of them and the variable with the result.
fn refused(what: &str, n: i64, with: impl FnOnce(&mut Builder, ValueId, VarId, ValueId) -> ValueId) {
    let body = over_lanes(32, n, |b, i, r| {
        let a = b.get(X, 128);
        let x = lane(b, 32, a, i);
        with(b, x, r, i)
    });
    assert_eq!(vectorised(body), None, "{what}");
}

#[test]
fn what_turns_have_from_each_other_stays() {
    refused("the result's lanes are read", 4, |b, x, r, _| {
        let so_far = b.read(r);
        let zero = b.int(0);
        let first = lane(b, 32, so_far, zero);
        b.op(Op::Bin(BinOp::Add), &[x, first], bits(32))
    });
    refused("lanes cross", 4, |b, x, _, i| {
        let a = b.get(X, 128);
        let three = b.int(3);
        let other = b.op(Op::IntSub, &[three, i], Ty::Int);
        let y = lane(b, 32, a, other);
        b.op(Op::Bin(BinOp::Add), &[x, y], bits(32))
    });
    refused("the source is written before it is read again", 4, |b, x, r, _| {
        let so_far = b.read(r);
        b.set(X, so_far);
        x
    });
    refused("state is written", 4, |b, x, _, _| {
        b.set(B, x);
        x
    });
    refused("state that is ORed into is read", 4, |b, x, _, _| {
        let old = b.get(B, 32);
        let new = b.op(Op::Bin(BinOp::Or), &[old, x], bits(32));
        b.set(B, new);
        old
    });
    refused("state that is ORed into is read on its own", 4, |b, x, _, _| {
        let old = b.get(B, 32);
        let new = b.op(Op::Bin(BinOp::Or), &[old, x], bits(32));
        b.set(B, new);
        b.get(B, 32)
    });
    refused("state is added to", 4, |b, x, _, _| {
        let old = b.get(B, 32);
        let new = b.op(Op::Bin(BinOp::Add), &[old, x], bits(32));
        b.set(B, new);
        x
    });
    refused("memory is read", 4, |b, x, _, _| {
        let (n, acc) = (b.int(32), b.int(0));
        let address = b.op(Op::Zext, &[x], bits(64));
        b.op(Op::MemRead, &[n, address, acc], bits(32))
    });
}

/// The vector that a turn sets a lane of, which the turn looks at, too.
#[test]
fn a_result_that_is_looked_at_stays() {
    let mut b = Builder::new();
    let start = b.get(Y, 128);
    let r = b.var("r", bits(128), start);
    let (lo, hi, width) = (b.int(0), b.int(4), b.int(32));
    b.for_(lo, hi, |b, i| {
        let before = b.read(r);
        let first = lane(b, 32, before, lo);
        let after = b.op(Op::SetLane, &[width, before, i, first], bits(128));
        b.assign(r, after);
    });
    let all = b.read(r);
    b.set(X, all);
    assert_eq!(vectorised(b.finish()), None);
}

#[test]
fn what_has_no_equivalent_stays() {
    refused("a division", 4, |b, x, _, _| {
        let ten = b.konst(32, 10);
        b.op(Op::Bin(BinOp::UDiv), &[x, ten], bits(32))
    });
    refused("a wider value", 4, |b, x, _, _| {
        let wide = b.op(Op::Zext, &[x], bits(64));
        let square = b.op(Op::Bin(BinOp::Mul), &[wide, wide], bits(64));
        let k = b.int(32);
        b.op(Op::Extract, &[square, k], bits(32))
    });
    refused("a lane alone", 1, |_, x, _, _| x);
    refused("the index as a value", 4, |b, x, _, i| {
        let n = b.op(Op::IntToBits, &[i], bits(32));
        b.op(Op::Bin(BinOp::Add), &[x, n], bits(32))
    });
    refused("a decision per lane", 4, |b, x, _, _| {
        let zero = b.konst(32, 0);
        let is_zero = b.op(Op::Cmp(CmpOp::Eq), &[x, zero], Ty::Bool);
        b.if_(is_zero, &[bits(32)], |_| vec![zero], |b| vec![b.op(Op::Un(UnOp::Neg), &[x], bits(32))])[0]
    });
}

/// A variable with the sum of the lanes before.
#[test]
fn a_variable_carried_from_turn_to_turn_stays() {
    let mut b = Builder::new();
    let start = b.konst(128, 0);
    let r = b.var("r", bits(128), start);
    let none = b.konst(32, 0);
    let sum = b.var("sum", bits(32), none);
    let (lo, hi, width) = (b.int(0), b.int(4), b.int(32));
    b.for_(lo, hi, |b, i| {
        let a = b.get(X, 128);
        let x = lane(b, 32, a, i);
        let so_far = b.read(sum);
        let more = b.op(Op::Bin(BinOp::Add), &[so_far, x], bits(32));
        b.assign(sum, more);
        let before = b.read(r);
        let after = b.op(Op::SetLane, &[width, before, i, more], bits(128));
        b.assign(r, after);
    });
    let all = b.read(r);
    b.set(X, all);
    assert_eq!(vectorised(b.finish()), None);
}

/// The last turn's value of a variable, read after the loop.
#[test]
fn a_variable_read_after_the_loop_stays() {
    let mut b = Builder::new();
    let start = b.konst(128, 0);
    let r = b.var("r", bits(128), start);
    let none = b.konst(32, 0);
    let last = b.var("last", bits(32), none);
    let (lo, hi, width) = (b.int(0), b.int(4), b.int(32));
    b.for_(lo, hi, |b, i| {
        let a = b.get(X, 128);
        let x = lane(b, 32, a, i);
        b.assign(last, x);
        let before = b.read(r);
        let after = b.op(Op::SetLane, &[width, before, i, x], bits(128));
        b.assign(r, after);
    });
    let all = b.read(r);
    b.set(X, all);
    let x = b.read(last);
    b.set(B, x);
    assert_eq!(vectorised(b.finish()), None);
}

/// A turn of which one arm divides; which it is, is a field of the instruction.
fn divides_or_adds() -> Body {
    over_lanes(32, 4, |b, i, _| {
        let a = b.get(X, 128);
        let x = lane(b, 32, a, i);
        let divides = b.field(0, 1);
        let c = b.op(Op::BitToBool, &[divides], Ty::Bool);
        let ten = b.konst(32, 10);
        b.if_(
            c,
            &[bits(32)],
            |b| vec![b.op(Op::Bin(BinOp::UDiv), &[x, ten], bits(32))],
            |b| vec![b.op(Op::Bin(BinOp::Add), &[x, ten], bits(32))],
        )[0]
    })
}

#[test]
fn a_fixed_decision_is_made_before_the_loop() {
    assert_eq!(vectorised(divides_or_adds()), None, "the condition is a value of the turn's");
    let mut body = divides_or_adds();
    crate::passes::invariant::run(&model(), &mut body);
    let text = vectorised(body).expect("one of the two is a loop over lanes");
    assert_eq!((text.matches("for ").count(), text.matches("udiv").count()), (1, 1), "{text}");
    assert!(text.contains("v_add"), "{text}");
}

/// A turn made of random operations on values of random widths.
fn random_turn(b: &mut Builder, i: ValueId, random: &mut Random, e: u32) -> ValueId {
    let (a, c) = (b.get(X, 128), b.get(Y, 128));
    let (number, zero) = (b.get(0, 64), b.int(0));
    let uniform = b.op(Op::Extract, &[number, zero], bits(e.min(16)));
    let mut values: Vec<(ValueId, u32)> = vec![(uniform, e.min(16))];
    for source in [a, c] {
        for width in [8, 16, 32].into_iter().filter(|w| *w <= e) {
            let most = i64::from(64 / e) - 1;
            let first = if width < e { random.next() as i64 & most } else { 0 };
            let first = b.int(first);
            let at = b.op(Op::IntAdd, &[i, first], Ty::Int);
            values.push((lane(b, width, source, at), width));
        }
    }
    let mut truths = Vec::new();
    for _ in 0..4 + random.next() % 12 {
        let (x, w) = values[random.next() as usize % values.len()];
        let same: Vec<ValueId> = values.iter().filter(|(_, n)| *n == w).map(|(v, _)| *v).collect();
        let y = if random.next().is_multiple_of(4) {
            b.konst(w, random.interesting() & crate::fixed::mask(w))
        } else {
            same[random.next() as usize % same.len()]
        };
        let k = b.int((random.next() % u64::from(w + 2)) as i64);
        let truth = truths.get(random.next() as usize % (truths.len() + 1)).copied();
        let wide_lanes = matches!(e, 32 | 64) && w.is_power_of_two();
        let new = match random.next() % 22 {
            0 => (b.op(Op::Bin(BinOp::Add), &[x, y], bits(w)), w),
            1 => (b.op(Op::Bin(BinOp::Sub), &[x, y], bits(w)), w),
            2 => (b.op(Op::Bin(BinOp::Mul), &[x, y], bits(w)), w),
            3 => (b.op(Op::Bin(BinOp::And), &[x, y], bits(w)), w),
            4 => (b.op(Op::Bin(BinOp::Or), &[x, y], bits(w)), w),
            5 => (b.op(Op::Bin(BinOp::Xor), &[x, y], bits(w)), w),
            6 => (b.op(Op::Un(UnOp::Not), &[x], bits(w)), w),
            7 => (b.op(Op::Un(UnOp::Neg), &[x], bits(w)), w),
            8 if matches!(e, 8 | 32) => (b.op(Op::Un(UnOp::Clz), &[x], bits(w)), w),
            9 => (b.op(Op::ShlInt, &[x, k], bits(w)), w),
            10 => (b.op(Op::ShrInt, &[x, k], bits(w)), w),
            11 => (b.op(Op::SarInt, &[x, k], bits(w)), w),
            12 if wide_lanes => (b.op(Op::Bin(BinOp::Shl), &[x, y], bits(w)), w),
            13 if wide_lanes => (b.op(Op::Bin(BinOp::Shr), &[x, y], bits(w)), w),
            14 if wide_lanes && e == 32 => (b.op(Op::Bin(BinOp::Sar), &[x, y], bits(w)), w),
            15 | 16 => {
                let lo = random.next() % u64::from(w);
                let n = 1 + (random.next() % (u64::from(w) - lo)) as u32;
                let lo = b.int(lo as i64);
                (b.op(Op::Extract, &[x, lo], bits(n)), n)
            }
            17 => {
                let n = w + (random.next() % u64::from(e - w + 1)) as u32;
                let op = if random.next().is_multiple_of(2) { Op::Zext } else { Op::Sext };
                (b.op(op, &[x], bits(n)), n)
            }
            18 => {
                let Some((z, n)) = values.iter().find(|(_, n)| n + w <= e).copied() else { continue };
                (b.op(Op::Concat, &[x, z], bits(w + n)), w + n)
            }
            19 => {
                let Some(truth) = truth else { continue };
                (b.op(Op::Select, &[truth, x, y], bits(w)), w)
            }
            20 => {
                let Some(truth) = truth else { continue };
                (b.op(Op::BoolToBit, &[truth], bits(1)), 1)
            }
            n => {
                let all = [CmpOp::Eq, CmpOp::Ne, CmpOp::Ult, CmpOp::Ule, CmpOp::Slt, CmpOp::Sle];
                let compared = b.op(Op::Cmp(all[(random.next() % 6) as usize]), &[x, y], Ty::Bool);
                let more = match (truth, n % 4) {
                    (Some(t), 0) => b.op(Op::BoolAnd, &[t, compared], Ty::Bool),
                    (Some(t), 1) => b.op(Op::BoolOr, &[t, compared], Ty::Bool),
                    (Some(t), 2) => b.op(Op::BoolEq, &[t, compared], Ty::Bool),
                    _ => b.op(Op::BoolNot, &[compared], Ty::Bool),
                };
                truths.extend([compared, more]);
                continue;
            }
        };
        values.push(new);
    }
    let (x, w) = values[values.len() - 1];
    if w == e { x } else { b.op(Op::Zext, &[x], bits(e)) }
}

#[test]
fn random_turns_compute_the_same() {
    let m = model();
    let mut random = Random(7);
    let mut taken = 0;
    for case in 0..400 {
        let e = [32, 32, 16, 8][case % 4];
        let n = i64::from(128 / e) >> (case / 4 % 2);
        let accumulate = case % 3 == 0;
        let spare = i64::from(128 / e) - n;
        let first = (case % 5 > 2).then(|| (random.next() % (spare + 1) as u64) as i64);
        let body = over_lanes_from(e, n, first, |b, i, _| {
            let x = random_turn(b, i, &mut random, e);
            if accumulate {
                let wide = b.op(Op::Zext, &[x], bits(64));
                let old = b.op(Op::StateGet(StateId(B)), &[], bits(64));
                let new = b.op(Op::Bin(BinOp::Or), &[old, wide], bits(64));
                b.op(Op::StateSet(StateId(B)), &[new], Ty::Unit);
            }
            x
        });
        let inputs: Vec<(u32, State)> = (0..8)
            .map(|_| {
                let state = [(0, 64), (B, 64), (X, 128), (Y, 128)].map(|(s, width)| {
                    let bits = random.interesting() ^ random.interesting();
                    ((s, 0), bits & crate::fixed::mask(width))
                });
                (0, state.into())
            })
            .collect();
        taken += usize::from(vectorised(body.clone()).is_some());
        compare(&m, &format!("case {case}"), &body, None, &inputs);
    }
    assert_eq!(taken, 400, "all loops are taken");
}
