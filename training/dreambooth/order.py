"""In which order pictures are trained: shuffled anew every round, from the seed alone, so a run can go on anywhere."""

from collections.abc import Hashable, Sequence

import numpy as np
import torch

# Which of the seed's streams shuffles what. Other numbers would be other batches from the same seed.
STREAMS = {"instance": 8, "regularization": 14, "reward": 6, "bucket": 9}


class Order:
    """Every random choice is made by (``seed``, a key)."""

    def __init__(self, seed: int):
        self.seed = seed

    def generator(self, *key: int) -> torch.Generator:
        """One that depends on the seed and ``key`` alone."""
        state = np.random.SeedSequence([self.seed, *key]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state >> np.uint64(1)))

    def shuffled(self, kind: str, count: int, positions: range) -> list[int]:
        """Which of ``count`` pictures stand at ``positions`` of an endless sequence, shuffled anew every round."""
        rounds = {}
        for position in positions:
            turn = position // count
            if turn not in rounds:
                rounds[turn] = torch.randperm(count, generator=self.generator(turn, STREAMS[kind])).tolist()
        return [rounds[position // count][position % count] for position in positions]

    def alike(self, buckets: Sequence[Hashable], number: int, total: int) -> list[int]:
        """Which ``total`` instances are batch ``number``, all of one bucket; ``buckets`` has that of every instance.

        Buckets take turns as often as they have instances, and the instances of each come in an endless sequence of
        its own: after as many batches as there are instances, each was there ``total`` times.
        """
        count = len(buckets)
        turns = [buckets[index] for index in self.shuffled("bucket", count, range(number // count * count, number + 1))]
        members = [index for index, bucket in enumerate(buckets) if bucket == turns[-1]]
        before = number // count * len(members) + turns.count(turns[-1]) - 1
        places = self.shuffled("instance", len(members), range(before * total, (before + 1) * total))
        return [members[place] for place in places]
