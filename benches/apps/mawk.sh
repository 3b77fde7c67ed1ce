# group: integer
# Fields, associative arrays and regular expressions in the byte-code awk.
. "${0%/*}/prelude.sh"
run usr/bin/mawk -f "${0%/*}/work.awk" "$INPUT/text" "$INPUT/text" "$INPUT/text"
