# group: integer
# Moves in the game of go.
. "${0%/*}/prelude.sh"
{
    echo boardsize 13
    for move in 1 2 3 4; do printf 'genmove black\ngenmove white\n'; done
    echo showboard
    echo quit
} | run usr/games/gnugo --mode gtp --level 8 --seed 1
