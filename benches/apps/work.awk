# Word counts, lengths and a few matches, in a fixed order of output.
{
    for (i = 1; i <= NF; i++) {
        word = $i
        gsub(/[^a-z]/, "", word)
        count[word]++
        if (word ~ /^[st].*e/) matches++
        length_sum += length(word) * i
    }
    if (substr($0, 3, 2) == "th") hits += index($0, "and")
    last = toupper($1) last
    last = substr(last, 1, 60)
}
END {
    for (word in count)
        if (count[word] > best || (count[word] == best && word < top)) { best = count[word]; top = word }
    print NR, top, best, matches, length_sum, hits, last
}
