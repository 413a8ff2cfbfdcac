"""Machine sounds from physics: what turns, meshes, pulses, clicks and slides, whole and broken.

Floors, each importing only those above it:

    signals    shafts, harmonic sums, impacts, coloured noise: arithmetic on waves
    bodies     what a unit is made of: casings that resonate, bearings with their defect frequencies
    noise      the factory around the machine, and the mix at a stated signal-to-noise ratio
    fan gearbox pump valve slider     one machine type each: how a unit is drawn, how it sounds, what fails
    clips      one clip of one unit: a take of the machine, the noise, the recorder's level
"""
