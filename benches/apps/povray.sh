# group: fp
# portable: no (a compiler's fused multiplications and additions change pixels)
# Ray tracing.
. "${0%/*}/prelude.sh"
run usr/bin/povray +I"${0%/*}/scene.pov" +FP +W144 +H108 +WT1 +A0.3 -D -GA +O- 2>/dev/null >image
# Without the header, which has the date.
tail -c $((144 * 108 * 3)) image
