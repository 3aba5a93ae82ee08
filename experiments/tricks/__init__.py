"""What is each trick worth? An experiment that is not finished."""
