# group: integer
# XML transformed by a style sheet.
. "${0%/*}/prelude.sh"
run usr/bin/xalan -in "$INPUT/data.xml" -xsl "${0%/*}/style.xsl"
