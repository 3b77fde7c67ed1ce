# group: integer
# Regular expressions, hashes and strings.
. "${0%/*}/prelude.sh"
export PERL5LIB="$ROOT/usr/share/perl/5.36.0:$ROOT/usr/lib/$TRIPLET/perl-base"
run usr/bin/perl "${0%/*}/work.pl" "$INPUT/text"
