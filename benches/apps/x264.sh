# group: integer
# portable: no (the encoder's vector code rounds differently)
# H.264 encoding of made-up frames.
. "${0%/*}/prelude.sh"
"$DRIVERS/video"
