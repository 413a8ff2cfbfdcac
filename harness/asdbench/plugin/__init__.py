"""What plugins offer and how they are found."""
