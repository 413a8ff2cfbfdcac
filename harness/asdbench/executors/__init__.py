"""Where jobs run. An executor takes messages and gives events; it holds no truth of its own."""
