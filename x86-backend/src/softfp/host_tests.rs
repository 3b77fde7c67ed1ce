//! Comparison with the host's floating-point unit, which agrees in everything but NaN selection and tininess.
