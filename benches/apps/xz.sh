# group: integer
# LZMA compression and decompression.
. "${0%/*}/prelude.sh"
run usr/bin/xz -T1 -1 -c "$INPUT/book" >packed
cat packed
run usr/bin/xz -dc packed
