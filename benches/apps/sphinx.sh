# group: fp
# portable: no (rounding changes scores)
# Speech recognition: the packages' model, small vocabulary and recording.
. "${0%/*}/prelude.sh"
data=$ROOT/usr/share/pocketsphinx
run usr/bin/pocketsphinx_continuous -logfn /dev/null -infile "$data/test/data/goforward.raw" \
    -hmm "$data/model/en-us/en-us" -lm "$data/test/data/turtle.lm.bin" -dict "$data/test/data/turtle.dic"
