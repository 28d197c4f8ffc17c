"""Labels of conditional samples: image i's class is a function of i and the classes' shares alone."""

from collections.abc import Sequence

import numpy as np


def labels_by_share(count: int, shares: Sequence[int]) -> np.ndarray:
    """Return a label for each image, (count,) int64, such that any first images follow the shares.

    Of the first n images each class has n times its share, rounded down or up. Equal shares give
    the classes in turn; a class without a share is never drawn.

    Args:
        count: number of images.
        shares: of each class, whole numbers from 0 that are relative to each other.

    Raises:
        ValueError: if no class has a share, or one is below 0.

    Balinski and Young, 1975, "The quota method of apportionment": of the classes that do not exceed
    their share rounded up, the next image is of the one whose (images + 1) / share is the least.
    Ties go to the lower class. After as many images as the shares' sum the order begins again.
    """
    weights = np.asarray(shares, np.int64)
    if not weights.size or weights.min() < 0 or weights.max() == 0:
        raise ValueError(f"expected shares from 0 and one above it, got {list(shares)}"[:300])
    classes = np.flatnonzero(weights)
    weights = weights[classes] // np.gcd.reduce(weights)
    total = int(weights.sum())
    order, drawn = np.empty(min(count, total), np.int64), np.zeros(len(classes), np.int64)
    for image in range(len(order)):
        within = drawn * total < weights * (image + 1)
        chosen = np.where(within, (drawn + 1) / weights, np.inf).argmin()
        order[image] = classes[chosen]
        drawn[chosen] += 1
    return np.resize(order, count)


def balanced_labels(count: int, num_classes: int) -> np.ndarray:
    """Return the classes in turn, (count,) int64: the numbers of any two differ by 1 at most."""
    return labels_by_share(count, [1] * num_classes)


def check_seen(shares: Sequence[int], class_counts: Sequence[int]) -> None:
    """Refuse shares of classes that a generator never saw.

    Args:
        shares: of each class.
        class_counts: how many images of each class the generator was trained on.

    Raises:
        ValueError: if there are any; the message names them.
    """
    counts = [*class_counts, *[0] * (len(shares) - len(class_counts))]
    unseen = [str(k) for k, share in enumerate(shares) if share and not counts[k]]
    if unseen:
        raise ValueError(
            f"expected shares of classes with training images alone, got one for class "
            f"{', '.join(unseen[:10])}, which the generator never saw"
        )
