# group: integer
# Deflate compression and decompression.
. "${0%/*}/prelude.sh"
for level in 6 9 4; do
    run bin/gzip -n -$level -c "$INPUT/book" >packed
    cat packed
    run bin/gzip -dc packed
done
