"""Where jobs run. An executor takes job messages and yields events; results and failures are kept by the store alone."""
