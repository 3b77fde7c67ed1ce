# group: fp
# portable: no (rounding changes scores)
# Speech recognition: the packages' model, small vocabulary and recordings, one after the other, three times.
. "${0%/*}/prelude.sh"
data=$ROOT/usr/share/pocketsphinx
for round in 1 2 3; do
    for recording in goforward numbers something; do cat "$data/test/data/$recording.raw"; done
done >speech
run usr/bin/pocketsphinx_continuous -logfn /dev/null -infile speech \
    -hmm "$data/model/en-us/en-us" -lm "$data/test/data/turtle.lm.bin" -dict "$data/test/data/turtle.dic"
