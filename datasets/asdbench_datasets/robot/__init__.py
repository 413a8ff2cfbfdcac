"""Time series of robots as windows: KUKA and its simulation, UR3 CobotOps, and your own tables."""
