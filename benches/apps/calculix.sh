# group: fp
# portable: no (a compiler's fused multiplications and additions change last digits)
# Finite elements: a beam bent, statically and in its natural frequencies.
. "${0%/*}/prelude.sh"
cp "$INPUT/beam.inp" beam.inp
run usr/bin/ccx -i beam >/dev/null
cat beam.dat
