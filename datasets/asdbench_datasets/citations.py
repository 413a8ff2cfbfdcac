"""Papers that several releases ask their users to cite."""

from __future__ import annotations

DCASE2020 = """\
Y. Koizumi, Y. Kawaguchi, K. Imoto, T. Nakamura, Y. Nikaido, R. Tanabe, H. Purohit, K. Suefusa, T. Endo, \
M. Yasuda, N. Harada: Description and Discussion on DCASE2020 Challenge Task2: Unsupervised Anomalous Sound \
Detection for Machine Condition Monitoring. DCASE Workshop 2020."""
MIMII = """\
H. Purohit, R. Tanabe, K. Ichige, T. Endo, Y. Nikaido, K. Suefusa, Y. Kawaguchi: MIMII Dataset: Sound \
Dataset for Malfunctioning Industrial Machine Investigation and Inspection. DCASE Workshop 2019."""
MIMII_DUE = """\
R. Tanabe, H. Purohit, K. Dohi, T. Endo, Y. Nikaido, T. Nakamura, Y. Kawaguchi: MIMII DUE: Sound Dataset for \
Malfunctioning Industrial Machine Investigation and Inspection with Domain Shifts due to Changes in Operational \
and Environmental Conditions. WASPAA 2021."""
MIMII_DG = """\
K. Dohi, T. Nishida, H. Purohit, R. Tanabe, T. Endo, M. Yamamoto, Y. Nikaido, Y. Kawaguchi: MIMII DG: Sound \
Dataset for Malfunctioning Industrial Machine Investigation and Inspection for Domain Generalization Task. \
DCASE Workshop 2022."""
TOYADMOS = """\
Y. Koizumi, S. Saito, H. Uematsu, N. Harada, K. Imoto: ToyADMOS: A Dataset of Miniature-Machine Operating \
Sounds for Anomalous Sound Detection. WASPAA 2019."""
TOYADMOS2 = """\
N. Harada, D. Niizumi, D. Takeuchi, Y. Ohishi, M. Yasuda, S. Saito: ToyADMOS2: Another Dataset of \
Miniature-Machine Operating Sounds for Anomalous Sound Detection under Domain Shift Conditions. DCASE Workshop 2021."""
FIRST_SHOT = """\
N. Harada, D. Niizumi, D. Takeuchi, Y. Ohishi, M. Yasuda: First-Shot Anomaly Detection for Machine Condition \
Monitoring: A Domain Generalization Baseline. EUSIPCO 2023."""
