# group: integer
# A database in memory: inserts, indices, joins, aggregates.
. "${0%/*}/prelude.sh"
run usr/bin/sqlite3 -batch :memory: <"${0%/*}/work.sql"
