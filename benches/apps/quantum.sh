# group: integer
# Shor's algorithm on a simulated quantum computer.
. "${0%/*}/prelude.sh"
"$DRIVERS/quantum"
