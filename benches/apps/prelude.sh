# Sourced by the programs' scripts. From the harness: ROOT, the tree of Debian's packages; TRIPLET and LOADER, what its architecture
# calls itself and its dynamic linker; INPUT, made-up input; DRIVERS, programs of ours.
libraries=$ROOT/lib/$TRIPLET:$ROOT/usr/lib/$TRIPLET
for directory in lapack blas pulseaudio; do libraries=$libraries:$ROOT/usr/lib/$TRIPLET/$directory; done
export HOME="$PWD" LC_ALL=C OMP_NUM_THREADS=1

# run PROGRAM ARGUMENT...: a program of the tree, with the tree's libraries, wherever the tree is.
run() {
    program=$ROOT/$1
    shift
    "$ROOT/$LOADER" --library-path "$libraries" "$program" "$@"
}
