"""The order of training images: reshuffled every epoch from the seed alone, so a run can resume at any step."""

from collections.abc import Hashable, Sequence

import numpy as np
import torch

# One random stream of the seed per purpose. Changing a number changes every run that uses the stream. What is random
# within a batch comes from the seed and the batch's number alone.
STREAMS = {"instance": 8, "regularization": 14, "reward": 6, "reward noise": 7, "bucket": 9}


class Order:
    """Every random choice depends on ``seed`` and a key only."""

    def __init__(self, seed: int):
        self.seed = seed

    def generator(self, *key: int) -> torch.Generator:
        """A generator that depends on the seed and ``key`` only."""
        state = np.random.SeedSequence([self.seed, *key]).generate_state(1, np.uint64)[0]
        return torch.Generator().manual_seed(int(state >> np.uint64(1)))

    def shuffled(self, stream: str, count: int, positions: range) -> list[int]:
        """The indices of ``count`` items at ``positions`` of an endless sequence that is reshuffled every epoch."""
        epochs = {}
        for position in positions:
            epoch = position // count
            if epoch not in epochs:
                epochs[epoch] = torch.randperm(count, generator=self.generator(epoch, STREAMS[stream])).tolist()
        return [epochs[position // count][position % count] for position in positions]

    def alike(self, buckets: Sequence[Hashable], number: int, total: int) -> list[int]:
        """The ``total`` instances of batch ``number``, all from one bucket; ``buckets`` lists each instance's bucket.

        Each bucket gets as many batches as it has instances, in shuffled order, and each has its own endless sequence
        of instances: in as many batches as there are instances, each instance appears ``total`` times.
        """
        count = len(buckets)
        past = [buckets[index] for index in self.shuffled("bucket", count, range(number // count * count, number + 1))]
        members = [index for index, bucket in enumerate(buckets) if bucket == past[-1]]
        before = number // count * len(members) + past.count(past[-1]) - 1
        places = self.shuffled("instance", len(members), range(before * total, (before + 1) * total))
        return [members[place] for place in places]
