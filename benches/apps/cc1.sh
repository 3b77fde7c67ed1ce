# group: integer
# portable: no (each architecture's compiler makes code for its own)
# A compiler at -O2.
. "${0%/*}/prelude.sh"
run usr/lib/gcc/$TRIPLET/12/cc1 -quiet -fpreprocessed -O2 "$INPUT/source.i" -o -
