# group: integer
# Block-sorting compression and decompression.
. "${0%/*}/prelude.sh"
run bin/bzip2 -9 -c "$INPUT/book" >packed
cat packed
run bin/bzip2 -dc packed
