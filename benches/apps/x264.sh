# group: integer
# H.264 encoding of made-up frames.
. "${0%/*}/prelude.sh"
"$DRIVERS/video"
