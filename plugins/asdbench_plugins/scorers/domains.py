"""Two domains of unequal size in one normal set: more points of the smaller one, and scores on a common scale.

Oversampling follows Chawla et al., "SMOTE: synthetic minority over-sampling technique", JAIR 2002. Mixing (MemMixup) and
the scale follow Saengthong and Shinozaki, "Deep generic representations for domain-generalized anomalous sound
detection" (GenRep, arXiv:2409.05035): a domain's distances are standardised by those of its own training points, or as
printed by those of all test points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from asdbench import State
from asdbench_plugins.scorers.distances import Distance, Vectors, nearest

SOURCE, TARGET = "source", "target"
TARGET_SHARE = 0.9
"""Share of the target point in a mixed one."""
SEED = 0
"""Seed of the interpolation: the same points always give the same new points."""
LEAST_FOR_SPREAD = 3
"""Fewest points whose within-domain distances give a usable standard deviation."""
FLOOR = 1e-9
"""Smallest standard deviation, so that coinciding points still have a scale."""


def oversample(
    points: Vectors, domains: NDArray[np.str_], *, ratio: float, neighbours: int, metric: Distance
) -> Vectors:
    """Return new target points ``[new, dims]``, so that there are ``ratio`` times as many as source points.

    Each is at a random position between a target point and one of its nearest target points. Without source points,
    or with fewer than two target points, there are none.
    """
    target = points[domains == TARGET]
    wanted = int(ratio * np.count_nonzero(domains == SOURCE)) - len(target)
    if wanted <= 0 or len(target) < 2:
        return points[:0]
    near = nearest(target, None, k=min(neighbours, len(target) - 1), metric=metric)[1]
    random = np.random.default_rng(SEED)
    # Every target point starts one interpolation before any starts a second.
    base = np.resize(random.permutation(len(target)), wanted)
    partner = near[base, random.integers(near.shape[1], size=wanted)]
    share = random.random((wanted, 1))
    # Chawla et al.: x + u (neighbour - x), with u uniform in 0..1.
    made: Vectors = target[base] + share * (target[partner] - target[base])
    return made


def mixed(points: Vectors, domains: NDArray[np.str_], *, neighbours: int, metric: Distance) -> Vectors:
    """Return new target points ``[targets * neighbours, dims]``: target points t mixed with their nearest source points s.

    They are 0.9 t + 0.1 s, the nearest s first. With fewer source points, all are used; without source or target
    points, or with ``neighbours=0``, there are none.
    """
    source, target = points[domains == SOURCE], points[domains == TARGET]
    used = min(neighbours, len(source))
    if not used or not len(target):
        return points[:0]
    near = nearest(source, target, k=used, metric=metric)[1]
    made: Vectors = TARGET_SHARE * target[:, np.newaxis] + (1 - TARGET_SHARE) * source[near]
    return made.reshape(-1, points.shape[1])


def learn_scales(
    points: Vectors, codes: NDArray[np.int64], *, mixtures: Vectors, k: int, metric: Distance
) -> State:
    """Return mean and standard deviation of the nearest-neighbour distances within each domain.

    Args:
        points: ``[points, dims]``, without the oversampled ones: an interpolated point is close to its origins, which
            says nothing about how far apart the domain's own points are.
        codes: Number of the domain of each point, ``[points]``; the target domain has the last, by its name.
        mixtures: As ``mixed`` returns them. They are nearer to everything than the few target points, so the distances of
            a target point are measured among them, too, but for those that were made of it.
        k: Number of neighbours per distance.
        metric: The distance.

    A domain of fewer than three points uses the standard deviation over all domains; a domain of one point also uses
    their mean.
    """
    everywhere = _own_distances(points, k=k, metric=metric)
    centres, spreads = [], []
    for code in range(int(codes.max()) + 1):
        bank = points[codes == code]
        if len(bank) < 2:
            own = everywhere
        elif len(mixtures) and code == codes.max():
            own = _beside_mixtures(bank, mixtures, k=k, metric=metric)
        else:
            own = _own_distances(bank, k=k, metric=metric)
        centres.append(own.mean())
        # Two points are at the same distance from each other, so their deviation is always 0.
        spreads.append((own if len(bank) >= LEAST_FOR_SPREAD else everywhere).std())
    return {"centre": np.array(centres), "spread": np.maximum(spreads, FLOOR)}


def rescaled_distances(state: State, points: Vectors, *, k: int, metric: Distance) -> NDArray[np.float64]:
    """Return for each point the smallest of its distances to the domains, standardised as ``learn_scales`` found."""
    to_domains = _to_domains(state, points, k=k, metric=metric)
    return _least(to_domains, centre=state["centre"], spread=state["spread"])


def distances_among(state: State, points: Vectors, *, k: int, metric: Distance) -> NDArray[np.float64]:
    """Return for each point the smallest of its distances to the domains, each standardised over all of ``points``.

    The deviation is the population's. Where it is 0, as for a single point, so is the standardised distance.
    """
    to_domains = _to_domains(state, points, k=k, metric=metric)
    spread = np.maximum(to_domains.std(axis=1), FLOOR)
    return _least(to_domains, centre=to_domains.mean(axis=1), spread=spread)


def _to_domains(state: State, points: Vectors, *, k: int, metric: Distance) -> NDArray[np.float64]:
    """Return the mean distance of each point to its nearest points of each domain, ``[domains, points]``."""
    found = []
    for code in np.unique(state["domain"]):
        bank = state["points"][state["domain"] == code]
        found.append(nearest(bank, points, k=min(k, len(bank)), metric=metric)[0].mean(axis=1))
    return np.array(found)


def _least(
    to_domains: NDArray[np.float64], *, centre: NDArray[np.float64], spread: NDArray[np.float64]
) -> NDArray[np.float64]:
    # Domain normalisation of GenRep: (distance - mean) / deviation of the distances to the domain.
    least: NDArray[np.float64] = ((to_domains - centre[:, np.newaxis]) / spread[:, np.newaxis]).min(axis=0)
    return least


def _beside_mixtures(bank: Vectors, mixtures: Vectors, *, k: int, metric: Distance) -> NDArray[np.float64]:
    """Return the mean distance of each target point to its nearest among the others and what was made of them."""
    of_points = mixtures.reshape(len(bank), -1, bank.shape[1])
    means = []
    for place in range(len(bank)):
        rest = [np.delete(bank, place, axis=0), *np.delete(of_points, place, axis=0)]
        others = np.concatenate(rest)
        near = nearest(others, bank[place : place + 1], k=min(k, len(others)), metric=metric)[0]
        means.append(near.mean())
    return np.array(means)


def _own_distances(bank: Vectors, *, k: int, metric: Distance) -> NDArray[np.float64]:
    """Return the mean distance of each point to its nearest neighbours, itself excluded."""
    if len(bank) < 2:
        return np.zeros(1)
    distances = nearest(bank, None, k=min(k, len(bank) - 1), metric=metric)[0]
    own: NDArray[np.float64] = distances.mean(axis=1)
    return own
