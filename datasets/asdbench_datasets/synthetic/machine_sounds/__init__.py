"""Machine sounds from physical models, for healthy and faulty machines.

Each module imports only from those above it:

    signals    shafts, harmonic sums, impacts, coloured noise: arithmetic on waves
    bodies     the parts of a unit: casings that resonate, bearings with their defect frequencies
    machine    what every machine type offers, and its faults
    noise      the factory around the machine, and the mix at a given signal-to-noise ratio
    fan gearbox pump valve slider     one machine type each: how a unit is drawn, its sound and its faults
    clips      one clip of one unit: a take of the machine, the noise, the recorder's level
"""
