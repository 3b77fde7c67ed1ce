# What gromacs.sh simulates: the package's box of water, with velocities of 300 K.
here=${0%/*}
. "$here/../prelude.sh"
run usr/bin/gmx -quiet -nobackup grompp -f "$here/water.mdp" -p "$here/water.top" -c "$ROOT/usr/share/gromacs/top/spc216.gro" -o water.tpr
