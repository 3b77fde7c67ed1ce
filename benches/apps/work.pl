# Counts words and pairs of words, rewrites text, sorts. The hash seed must not show: keys are sorted.
use strict;
use warnings;
my (%words, %pairs);
my ($previous, $changed, $checksum) = ('', 0, 0);
for my $round (1 .. 1) {
    open my $text, '<', $ARGV[0] or die "$ARGV[0]: $!";
    while (my $line = <$text>) {
        $changed += ($line =~ s/\b([a-z])([a-z]*)ing\b/\u$1$2ed/g);
        for my $word (split /[^A-Za-z]+/, $line) {
            next unless length $word;
            $words{lc $word}++;
            $pairs{"$previous $word"}++ if $word =~ /^[aeiou]/ || length($word) > 6;
            $previous = $word;
        }
        $checksum = ($checksum * 31 + ord(substr $line, $round, 1)) % 1_000_003 if length($line) > 4;
    }
    close $text;
}
my @sorted = sort { $words{$b} <=> $words{$a} || $a cmp $b } keys %words;
printf "%s %d\n", $_, $words{$_} for @sorted[0 .. 19];
printf "%d %d %d %s\n", scalar(keys %pairs), $changed, $checksum, join(',', (sort keys %pairs)[0 .. 9]);
