# group: integer
# Fields, associative arrays and regular expressions in GNU's awk.
. "${0%/*}/prelude.sh"
run usr/bin/gawk -f "${0%/*}/work.awk" "$INPUT/text" "$INPUT/text" "$INPUT/text"
