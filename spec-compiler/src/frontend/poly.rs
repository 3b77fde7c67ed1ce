//! Integer polynomials over opaque atoms: the normal form in which widths are compared.

use std::collections::BTreeMap;

/// Sum of coefficient times product of atoms; no zero coefficients.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Poly(BTreeMap<Vec<u32>, i64>);

impl Poly {
    #[must_use]
    pub fn constant(c: i64) -> Self {
        let mut p = Poly::default();
        p.add_term(Vec::new(), c);
        p
    }

    #[must_use]
    pub fn atom(a: u32) -> Self {
        Poly(BTreeMap::from([(vec![a], 1)]))
    }

    #[must_use]
    pub fn as_const(&self) -> Option<i64> {
        match self.0.len() {
            0 => Some(0),
            1 => self.0.get(&Vec::new()).copied(),
            _ => None,
        }
    }

    /// The atom, if that is all there is.
    #[must_use]
    pub fn as_atom(&self) -> Option<u32> {
        let (m, c) = self.0.first_key_value()?;
        (self.0.len() == 1 && *c == 1 && m.len() == 1).then(|| m[0])
    }

    pub fn terms(&self) -> impl Iterator<Item = (&[u32], i64)> {
        self.0.iter().map(|(m, c)| (m.as_slice(), *c))
    }

    fn add_term(&mut self, monomial: Vec<u32>, c: i64) {
        let sum = self.0.get(&monomial).copied().unwrap_or(0).wrapping_add(c);
        if sum == 0 {
            self.0.remove(&monomial);
        } else {
            self.0.insert(monomial, sum);
        }
    }

    #[must_use]
    pub fn add(&self, other: &Poly) -> Poly {
        let mut p = self.clone();
        for (m, c) in &other.0 {
            p.add_term(m.clone(), *c);
        }
        p
    }

    #[must_use]
    pub fn neg(&self) -> Poly {
        Poly(self.0.iter().map(|(m, c)| (m.clone(), c.wrapping_neg())).collect())
    }

    #[must_use]
    pub fn mul(&self, other: &Poly) -> Poly {
        let mut p = Poly::default();
        for (m, c) in &self.0 {
            for (n, d) in &other.0 {
                let mut product = m.clone();
                product.extend(n);
                product.sort_unstable();
                p.add_term(product, c.wrapping_mul(*d));
            }
        }
        p
    }

    /// The quotient when every term is a multiple of the (one-term) divisor.
    #[must_use]
    pub fn div_exact(&self, divisor: &Poly) -> Option<Poly> {
        let (dm, dc) = divisor.0.first_key_value()?;
        if divisor.0.len() != 1 {
            return None;
        }
        let mut out = Poly::default();
        for (m, c) in &self.0 {
            if c % dc != 0 {
                return None;
            }
            let mut rest = m.clone();
            for a in dm {
                let at = rest.iter().position(|x| x == a)?;
                rest.remove(at);
            }
            out.add_term(rest, c / dc);
        }
        Some(out)
    }

    /// Replaces an atom.
    #[must_use]
    pub fn substitute(&self, atom: u32, by: &Poly) -> Poly {
        let mut out = Poly::default();
        for (m, c) in &self.0 {
            let mut p = Poly::constant(*c);
            for a in m {
                p = p.mul(&if *a == atom { by.clone() } else { Poly::atom(*a) });
            }
            out = out.add(&p);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn eval(p: &Poly, atoms: &[i64]) -> i64 {
        p.terms()
            .map(|(m, c)| m.iter().fold(c, |acc, a| acc.wrapping_mul(atoms[*a as usize])))
            .fold(0, i64::wrapping_add)
    }

    fn poly() -> impl Strategy<Value = Poly> {
        proptest::collection::vec((proptest::collection::vec(0u32..3, 0..3), -5i64..6), 0..4).prop_map(|terms| {
            terms.into_iter().fold(Poly::default(), |p, (m, c)| {
                p.add(&m.into_iter().fold(Poly::constant(c), |q, a| q.mul(&Poly::atom(a))))
            })
        })
    }

    proptest! {
        #[test]
        fn arithmetic_agrees_with_evaluation(p in poly(), q in poly(), atoms in proptest::array::uniform3(-9i64..9)) {
            prop_assert_eq!(eval(&p.add(&q), &atoms), eval(&p, &atoms) + eval(&q, &atoms));
            prop_assert_eq!(eval(&p.mul(&q), &atoms), eval(&p, &atoms) * eval(&q, &atoms));
            prop_assert_eq!(eval(&p.neg(), &atoms), -eval(&p, &atoms));
            prop_assert_eq!(p.add(&p.neg()), Poly::default());
            let mut replaced = atoms;
            replaced[0] = eval(&q, &atoms);
            prop_assert_eq!(eval(&p.substitute(0, &q), &atoms), eval(&p, &replaced));
        }
    }

    #[test]
    fn exact_division() {
        let n = Poly::atom(0);
        let two = Poly::constant(2);
        assert_eq!(n.mul(&two).div_exact(&two), Some(n.clone()));
        assert_eq!(n.add(&Poly::constant(1)).div_exact(&two), None);
        assert_eq!(n.mul(&n).div_exact(&n), Some(n.clone()));
        assert_eq!(n.add(&n), n.mul(&two));
    }
}
