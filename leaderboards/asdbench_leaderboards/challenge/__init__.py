"""The files of the DCASE challenges: anyone's scores graded officially, a run's scores handed in."""
