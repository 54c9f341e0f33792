"""Float artifact and calibration pictures to int8 artifact, one file per format."""
