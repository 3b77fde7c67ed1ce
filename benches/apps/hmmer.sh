# group: integer
# portable: no (the model is built in floating point)
# Profile hidden Markov models: building one from an alignment and searching sequences for it.
. "${0%/*}/prelude.sh"
run usr/bin/hmm2build --amino --wnone model "$INPUT/alignment" >/dev/null
run usr/bin/hmm2search --cpu 1 -A 0 -E 1000 model "$INPUT/sequences" | grep -v '^HMM file\|^Sequence database'
