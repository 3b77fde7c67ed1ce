# group: fp
# portable: no (how wide vectors are and fused multiplications and additions change last digits)
# Molecular dynamics: a box of water.
. "${0%/*}/prelude.sh"
run usr/bin/gmx -quiet mdrun -s "$INPUT/water.tpr" -deffnm water -ntmpi 1 -ntomp 1 -pin off -nb cpu -nstlist 10 -reprod -notunepme >&2
# Energies on the way and on average, and where the atoms are in the end. The rest of the log says when, where and how fast.
sed -n '/^ *Energies/,/^$/p' water.log
cat water.gro
