"""`argenseg demo`: a Label Studio with microscope pictures, on which masks are already drawn."""
