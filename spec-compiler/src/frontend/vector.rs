//! The vector and floating-point builtins.

use super::ast::Expr;
use super::lower::{Lowerer, Res, T, Val};
use crate::diag::Span;
use crate::ssa::{Op, Time, Ty, ValueId, Width};

/// Language name to `VUnOp`.
const V_UN: &[(&str, &str)] = &[
    ("v_neg", "Neg"),
    ("v_abs", "Abs"),
    ("v_popcount", "Popcnt"),
    ("v_clz", "Clz"),
    ("v_zext_low", "ZextLow"),
    ("v_sext_low", "SextLow"),
    ("v_narrow", "Narrow"),
    ("v_narrow_sat_ss", "NarrowSatSS"),
    ("v_narrow_sat_uu", "NarrowSatUU"),
    ("v_narrow_sat_su", "NarrowSatSU"),
    ("v_aes_sub_shift", "AesSubShift"),
    ("v_aes_inv_sub_shift", "AesInvSubShift"),
    ("v_aes_mix", "AesMixColumns"),
    ("v_aes_inv_mix", "AesInvMixColumns"),
];

/// Language name to `VBinOp`.
const V_BIN: &[(&str, &str)] = &[
    ("v_add", "Add"),
    ("v_sub", "Sub"),
    ("v_mul", "Mul"),
    ("v_cmpeq", "CmpEq"),
    ("v_cmpsgt", "CmpSgt"),
    ("v_cmpsge", "CmpSge"),
    ("v_cmpugt", "CmpUgt"),
    ("v_cmpuge", "CmpUge"),
    ("v_smin", "SMin"),
    ("v_smax", "SMax"),
    ("v_umin", "UMin"),
    ("v_umax", "UMax"),
    ("v_sadd_sat", "SAddSat"),
    ("v_uadd_sat", "UAddSat"),
    ("v_ssub_sat", "SSubSat"),
    ("v_usub_sat", "USubSat"),
    ("v_uavg_round", "UAvgRound"),
    ("v_uabd", "UAbd"),
    ("v_sabd", "SAbd"),
    ("v_umul_low", "UMulLow"),
    ("v_smul_low", "SMulLow"),
    ("v_pmul_low", "PMulLow"),
    ("v_add_pairs", "AddPairs"),
    ("v_ushl_var", "UShlVar"),
    ("v_sshl_var", "SShlVar"),
    ("v_zip_low", "ZipLow"),
    ("v_zip_high", "ZipHigh"),
    ("v_unzip_even", "UnzipEven"),
    ("v_unzip_odd", "UnzipOdd"),
    ("v_trans_even", "TransEven"),
    ("v_trans_odd", "TransOdd"),
    ("v_table", "Table"),
    ("v_sat_diff", "SatDiff"),
    ("v_sha1_choose", "Sha1Choose"),
    ("v_sha1_parity", "Sha1Parity"),
    ("v_sha1_majority", "Sha1Majority"),
    ("v_sha1_schedule", "Sha1Schedule"),
    ("v_sha256_schedule0", "Sha256Schedule0"),
    ("v_sha256_schedule1", "Sha256Schedule1"),
];

/// Language name to `VTernOp`.
const V_TERN: &[(&str, &str)] = &[("v_sha256_rounds", "Sha256Rounds")];

const V_SHIFT: &[(&str, &str)] = &[("v_shl", "Shl"), ("v_shr", "Shr"), ("v_sar", "Sar")];

/// Language name to `FpUnOp`.
const FP_UN: &[(&str, &str)] = &[
    ("fp_sqrt", "Sqrt"),
    ("fp_recpe", "RecipEstimate"),
    ("fp_rsqrte", "RsqrtEstimate"),
    ("fp_recpx", "RecipExponent"),
];

/// Language name to `FpBinOp`.
const FP_BIN: &[(&str, &str)] = &[
    ("fp_add", "Add"),
    ("fp_sub", "Sub"),
    ("fp_mul", "Mul"),
    ("fp_div", "Div"),
    ("fp_min", "Min"),
    ("fp_max", "Max"),
    ("fp_minnm", "MinNum"),
    ("fp_maxnm", "MaxNum"),
    ("fp_mulx", "MulX"),
    ("fp_recps", "RecipStep"),
    ("fp_rsqrts", "RsqrtStep"),
    ("fp_abd", "Abd"),
    ("fp_add_odd", "AddOdd"),
    ("fp_mul_odd", "MulOdd"),
];

const FP_CMP: &[(&str, &str)] = &[("fp_cmpeq", "Eq"), ("fp_cmpge", "Ge"), ("fp_cmpgt", "Gt")];

fn find(table: &[(&'static str, &'static str)], name: &str) -> Option<&'static str> {
    table.iter().find(|(n, _)| *n == name).map(|(_, op)| *op)
}

/// Is it one of these builtins?
#[must_use]
pub fn is_vector_builtin(name: &str) -> bool {
    [V_UN, V_BIN, V_TERN, V_SHIFT, FP_UN, FP_BIN, FP_CMP].iter().any(|t| find(t, name).is_some())
        || [
            "lane",
            "set_lane",
            "splat",
            "low_half",
            "v_shuffle",
            "v_ext",
            "fp_round_int",
            "fp_fma",
            "fp_cmp_flags",
            "fp_convert",
            "fp_to_int",
            "int_to_fp",
        ]
        .contains(&name)
}

const V128: Ty = Ty::Bits(Width::Const(128));

impl Lowerer<'_> {
    /// The call, if the name is a vector or floating-point builtin.
    pub fn vector_call(&mut self, name: &str, a: &[Expr], span: Span) -> Res<Option<Val>> {
        if !is_vector_builtin(name) {
            return Ok(None);
        }
        self.vector_value(name, a, span).map(|v| Some(Val::Leaf(v)))
    }

    fn args(&mut self, name: &str, a: &[Expr], wanted: usize, span: Span) -> Res<()> {
        if a.len() == wanted { Ok(()) } else { self.count(name, wanted, a.len(), span) }
    }

    fn fixed_bool(&mut self, e: &Expr) -> Res<ValueId> {
        let v = self.bool_expr(e)?;
        if self.time(v) == Time::Dynamic {
            return self.fail(e.span, "this is known only when the instruction runs, but must be fixed here");
        }
        Ok(v)
    }

    fn vector_value(&mut self, name: &str, a: &[Expr], span: Span) -> Res<ValueId> {
        if let Some(op) = find(V_UN, name) {
            self.args(name, a, 2, span)?;
            let e = self.int_expr(&a[0])?;
            let v = self.vector(&a[1])?;
            return Ok(self.emit(Op::VUn(op), vec![e, v], V128, span));
        }
        if let Some(op) = find(V_BIN, name) {
            self.args(name, a, 3, span)?;
            let e = self.int_expr(&a[0])?;
            let (x, y) = (self.vector(&a[1])?, self.vector(&a[2])?);
            return Ok(self.emit(Op::VBin(op), vec![e, x, y], V128, span));
        }
        if let Some(op) = find(V_TERN, name) {
            self.args(name, a, 4, span)?;
            let e = self.int_expr(&a[0])?;
            let (x, y, z) = (self.vector(&a[1])?, self.vector(&a[2])?, self.vector(&a[3])?);
            return Ok(self.emit(Op::VTern(op), vec![e, x, y, z], V128, span));
        }
        if let Some(op) = find(V_SHIFT, name) {
            self.args(name, a, 3, span)?;
            let e = self.int_expr(&a[0])?;
            let x = self.vector(&a[1])?;
            let k = self.int_expr(&a[2])?;
            return Ok(self.emit(Op::VShift(op), vec![e, x, k], V128, span));
        }
        if let Some(op) = find(FP_UN, name) {
            self.args(name, a, 3, span)?;
            let (f, l) = (self.int_expr(&a[0])?, self.int_expr(&a[1])?);
            let (x, w) = self.fp_operand(&a[2], f, l)?;
            return Ok(self.emit(Op::FpUn(op), vec![f, l, x], Ty::Bits(w), span));
        }
        let binary = find(FP_BIN, name).map(Op::FpBin).or_else(|| find(FP_CMP, name).map(Op::FpCmp));
        if let Some(op) = binary {
            self.args(name, a, 4, span)?;
            let (f, l) = (self.int_expr(&a[0])?, self.int_expr(&a[1])?);
            let (x, w) = self.fp_operand(&a[2], f, l)?;
            let y = self.bits_as(&a[3], w)?;
            return Ok(self.emit(op, vec![f, l, x, y], Ty::Bits(w), span));
        }
        match name {
            "lane" => {
                self.args(name, a, 3, span)?;
                let e = self.int_expr(&a[0])?;
                let w = self.as_width(e, a[0].span)?;
                let v = self.vector(&a[1])?;
                let i = self.int_expr(&a[2])?;
                self.check_lane(e, i, a[2].span)?;
                Ok(self.emit(Op::Lane, vec![e, v, i], Ty::Bits(w), span))
            }
            "set_lane" => {
                self.args(name, a, 4, span)?;
                let e = self.int_expr(&a[0])?;
                let w = self.as_width(e, a[0].span)?;
                let v = self.vector(&a[1])?;
                let i = self.int_expr(&a[2])?;
                self.check_lane(e, i, a[2].span)?;
                let x = self.bits_as(&a[3], w)?;
                Ok(self.emit(Op::SetLane, vec![e, v, i, x], V128, span))
            }
            "splat" => {
                self.args(name, a, 2, span)?;
                let e = self.int_expr(&a[0])?;
                let w = self.as_width(e, a[0].span)?;
                let x = self.bits_as(&a[1], w)?;
                Ok(self.emit(Op::Splat, vec![e, x], V128, span))
            }
            "low_half" => {
                self.args(name, a, 1, span)?;
                let v = self.vector(&a[0])?;
                let zero = self.int(0, span);
                let low = self.extract(v, zero, Width::Const(64), span);
                Ok(self.resize(Op::Zext, low, Width::Const(128), span))
            }
            "v_shuffle" => {
                self.args(name, a, 18, span)?;
                let mut vs = vec![self.vector(&a[0])?, self.vector(&a[1])?];
                for e in &a[2..] {
                    vs.push(self.int_expr(e)?);
                }
                Ok(self.emit(Op::Shuffle, vs, V128, span))
            }
            "v_ext" => {
                self.args(name, a, 3, span)?;
                let (x, y) = (self.vector(&a[0])?, self.vector(&a[1])?);
                let k = self.int_expr(&a[2])?;
                Ok(self.emit(Op::Ext, vec![x, y, k], V128, span))
            }
            _ => self.fp_value(name, a, span),
        }
    }

    fn check_lane(&mut self, e: ValueId, i: ValueId, span: Span) -> Res<()> {
        if let (Some(e), Some(i)) = (self.const_int(e), self.const_int(i))
            && (i < 0 || e * (i + 1) > 128)
        {
            return self.fail(span, format!("lane {i} is outside a vector of {e}-bit lanes"));
        }
        Ok(())
    }

    /// Scalar of the format's width, or a vector, by the number of lanes (or by what it is, if that isn't constant).
    fn fp_operand(&mut self, e: &Expr, f: ValueId, l: ValueId) -> Res<(ValueId, Width)> {
        let wanted = match self.const_int(l) {
            Some(1) => Some(self.as_width(f, e.span)?),
            Some(_) => Some(Width::Const(128)),
            None => None,
        };
        match wanted {
            Some(w) => Ok((self.bits_as(e, w)?, w)),
            None => {
                let v = self.expr(e, Some(&T::Leaf(V128)))?;
                self.as_bits(v, e.span)
            }
        }
    }

    fn fp_value(&mut self, name: &str, a: &[Expr], span: Span) -> Res<ValueId> {
        match name {
            "fp_round_int" => {
                self.args(name, a, 5, span)?;
                let (f, l) = (self.int_expr(&a[0])?, self.int_expr(&a[1])?);
                let (x, w) = self.fp_operand(&a[2], f, l)?;
                let rounding = self.int_expr(&a[3])?;
                let exact = self.fixed_bool(&a[4])?;
                Ok(self.emit(Op::FpRoundInt, vec![f, l, x, rounding, exact], Ty::Bits(w), span))
            }
            "fp_fma" => {
                self.args(name, a, 5, span)?;
                let (f, l) = (self.int_expr(&a[0])?, self.int_expr(&a[1])?);
                let (addend, w) = self.fp_operand(&a[2], f, l)?;
                let (x, y) = (self.bits_as(&a[3], w)?, self.bits_as(&a[4], w)?);
                Ok(self.emit(Op::FpFma, vec![f, l, addend, x, y], Ty::Bits(w), span))
            }
            "fp_cmp_flags" => {
                self.args(name, a, 4, span)?;
                let f = self.int_expr(&a[0])?;
                let w = self.as_width(f, a[0].span)?;
                let signaling = self.fixed_bool(&a[1])?;
                let (x, y) = (self.bits_as(&a[2], w)?, self.bits_as(&a[3], w)?);
                Ok(self.emit(Op::FpCmpFlags, vec![f, signaling, x, y], Ty::Flags, span))
            }
            "fp_convert" => {
                self.args(name, a, 4, span)?;
                let (f, g) = (self.int_expr(&a[0])?, self.int_expr(&a[1])?);
                let (from, to) = (self.as_width(f, a[0].span)?, self.as_width(g, a[1].span)?);
                let x = self.bits_as(&a[2], from)?;
                let rounding = self.int_expr(&a[3])?;
                Ok(self.emit(Op::FpConvert, vec![f, g, x, rounding], Ty::Bits(to), span))
            }
            "fp_to_int" => {
                self.args(name, a, 6, span)?;
                let (f, n) = (self.int_expr(&a[0])?, self.int_expr(&a[1])?);
                let (from, to) = (self.as_width(f, a[0].span)?, self.as_width(n, a[1].span)?);
                let signed = self.fixed_bool(&a[2])?;
                let fbits = self.int_expr(&a[3])?;
                let x = self.bits_as(&a[4], from)?;
                let rounding = self.int_expr(&a[5])?;
                Ok(self.emit(Op::FpToInt, vec![f, n, signed, fbits, x, rounding], Ty::Bits(to), span))
            }
            _ => {
                self.args(name, a, 5, span)?;
                let n = self.int_expr(&a[0])?;
                let from = self.as_width(n, a[0].span)?;
                let signed = self.fixed_bool(&a[1])?;
                let fbits = self.int_expr(&a[2])?;
                let f = self.int_expr(&a[3])?;
                let to = self.as_width(f, a[3].span)?;
                let x = self.bits_as(&a[4], from)?;
                Ok(self.emit(Op::IntToFp, vec![n, signed, fbits, f, x], Ty::Bits(to), span))
            }
        }
    }
}
