"""A queue simulation, a word index kept as JSON, and a memoised recursion."""
import collections
import functools
import heapq
import json
import sys


class Server:
    def __init__(self, number):
        self.number = number
        self.served = 0
        self.free_at = 0

    def serve(self, arrival, length):
        self.free_at = max(self.free_at, arrival) + length
        self.served += 1
        return self.free_at


def simulate(count, customers):
    servers = [Server(i) for i in range(count)]
    queue = [(0, s.number) for s in servers]
    state, clock, waited = 12345, 0, 0
    for _ in range(customers):
        state = (state * 1103515245 + 12345) % (1 << 31)
        clock += state % 7
        free, number = heapq.heappop(queue)
        waited += max(0, free - clock)
        heapq.heappush(queue, (servers[number].serve(clock, 3 + state % 11), number))
    return waited, [s.served for s in servers]


@functools.lru_cache(maxsize=None)
def ways(amount, coins):
    if amount == 0:
        return 1
    if amount < 0 or not coins:
        return 0
    return ways(amount - coins[0], coins) + ways(amount, coins[1:])


index = collections.defaultdict(list)
with open(sys.argv[1], encoding="ascii") as text:
    for number, line in enumerate(text):
        if number >= 7000:
            break
        for word in set(line.split()):
            index[word].append(number)
for _ in range(3):
    index = json.loads(json.dumps(index, sort_keys=True))
print(sorted((-len(lines), word) for word, lines in index.items())[:10])
print(simulate(5, 90000))
print([ways(n, (200, 100, 50, 20, 10, 5, 2, 1)) for n in range(100, 300, 50)])
