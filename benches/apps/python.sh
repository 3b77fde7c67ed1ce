# group: integer
# Classes, dictionaries, comprehensions, JSON and sorting.
. "${0%/*}/prelude.sh"
PYTHONHOME="$ROOT/usr" PYTHONHASHSEED=1 PYTHONDONTWRITEBYTECODE=1 run usr/bin/python3.11 "${0%/*}/work.py" "$INPUT/text"
